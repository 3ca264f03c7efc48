/** One workflow, or one flow: how far it is, what it waits for, its graph, and when each part waited and ran. */
import type { JSX } from "preact";
import { confirm, perform } from "../actions";
import { act, reads } from "../api";
import { token } from "../filter";
import { compact, count, plural, share } from "../format";
import { done, fold, type Node } from "../graph";
import { useRead } from "../read";
import { jobPath, Link } from "../router";
import { may } from "../settings";
import {
  Ago,
  Button,
  Card,
  Clock,
  CopyButton,
  Head,
  JobLink,
  JobsLink,
  Skeleton,
  TaskName,
  Trouble,
  useTitle,
} from "../parts/basic";
import { StateBar } from "../parts/figures";
import { Graph } from "../parts/Graph";
import { Icon, StateIcon } from "../parts/icons";
import { badge } from "../parts/JobTable";
import { Waterfall } from "../parts/Waterfall";
import { finished, STATES, type State, type Step, type Workflow as Whole } from "../types";

function cancel(whole: Whole): void {
  confirm({
    title: "Cancel the whole workflow?",
    action: "Cancel all of it",
    danger: true,
    text: "What has not started will not run; what runs is told to stop. What flows in it have begun goes along.",
    run: () => void perform(() => act.cancelWorkflow(whole.id), "The workflow is cancelled"),
  });
}

export function Workflow({ id }: { id: string }): JSX.Element {
  const { value, problem, again } = useRead(reads.workflow(id));
  useTitle(value?.job ? value.job.task : "Workflow");
  const up: [string, string] = ["/workflows", "Workflows"];
  if (!value)
    return (
      <>
        <Head title="Workflow" up={up} />
        {problem ? (
          <Trouble problem={problem} again={again} />
        ) : (
          <>
            <Skeleton block />
            <Skeleton rows={5} />
          </>
        )}
      </>
    );
  const { job } = value;
  const nodes = fold(value);
  const alive = (job !== null && !finished(job.state)) || value.parts.some((part) => !finished(part.state));
  return (
    <>
      <Head
        title={job ? <TaskName name={job.task} to={jobPath(job.id)} /> : "A workflow whose end is not kept"}
        up={up}
        actions={
          alive &&
          may("operator") && (
            <Button icon="stop" onClick={() => cancel(value)}>
              Cancel all of it
            </Button>
          )
        }
      >
        <div class="job-state">
          {job && badge(job)}
          <span class="mono faint">{id}</span>
          <CopyButton text={id} />
        </div>
      </Head>
      {problem && <Trouble problem={problem} again={again} />}
      <Waits whole={value} nodes={nodes} />
      <Progress whole={value} nodes={nodes} />
      <Card title="Graph" aside={value.cut && <Cut whole={value} />}>
        <Graph nodes={nodes} root={id} />
      </Card>
      <Failed whole={value} />
      <Card title="Waterfall" aside="waited, then ran">
        <Waterfall nodes={nodes} steps={value.steps} />
      </Card>
      {value.steps.length > 0 && (
        <Card title="Steps that it remembers" flush>
          <Steps steps={value.steps} />
        </Card>
      )}
    </>
  );
}

function Cut({ whole }: { whole: Whole }): JSX.Element {
  return <>drawn from {plural(whole.parts.length, "job")} of many</>;
}

/** All jobs by state, as far as they are known. */
function Progress({ whole, nodes }: { whole: Whole; nodes: readonly Node[] }): JSX.Element {
  const exact = nodes.every((node) => node.exact);
  const counts: Partial<Record<State, number>> = {};
  const add = (state: State, many: number): void => {
    if (many) counts[state] = (counts[state] ?? 0) + many;
  };
  if (exact) nodes.forEach((node) => STATES.forEach((state) => add(state, node.counts[state] ?? 0)));
  else whole.parts.forEach((part) => add(part.state, 1));
  const total = nodes.reduce((sum, node) => sum + node.total, 0);
  const ended = nodes.reduce((sum, node) => sum + done(node), 0);
  const present = STATES.filter((state) => counts[state]);
  return (
    <Card
      title={
        exact
          ? `${count(ended)} of ${plural(total, "job")} ended, ${share(ended / total)}`
          : `${plural(total, "job")}; of ${count(whole.parts.length)} of them:`
      }
      aside={
        <Link to="/jobs" query={{ q: token("root", whole.id) }}>
          All jobs
        </Link>
      }
    >
      <StateBar counts={counts} order={present} />
      <ul class="counts">
        {present.map((state) => (
          <li key={state}>
            <JobsLink q={`state:${state} ${token("root", whole.id)}`}>
              <StateIcon state={state} />
              {state} <b>{compact(counts[state] ?? 0)}</b>
            </JobsLink>
          </li>
        ))}
      </ul>
    </Card>
  );
}

/** What it waits for now: events, time, jobs. */
function Waits({ whole, nodes }: { whole: Whole; nodes: readonly Node[] }): JSX.Element | null {
  const { job } = whole;
  if (!job || (job.state !== "waiting" && job.state !== "scheduled")) return null;
  const pending = whole.steps.filter((step) => step.outcome === "waiting");
  const before = nodes.filter((node) => node.to.includes(job.id) && done(node) < node.total);
  if (!pending.length && !before.length) return null;
  return (
    <section class="why waits">
      <Icon name="clock" />
      <div>
        <h2>What does it wait for?</h2>
        <ul>
          {pending.map((step) => (
            <li key={step.number}>
              <Pending step={step} />
            </li>
          ))}
          {!pending.length &&
            before.map((node) => (
              <li key={node.id}>
                {node.total > 1 ? `${count(node.total - done(node))} of ${plural(node.total, "job")}` : "The job"}{" "}
                <b>{node.task}</b>
                {node.total > 1 ? " have not finished." : `, which is ${node.parts[0].state}.`}
              </li>
            ))}
        </ul>
      </div>
    </section>
  );
}

function Pending({ step }: { step: Step }): JSX.Element {
  const until = step.until && (
    <>
      <Clock at={step.until} /> (<Ago at={step.until} />)
    </>
  );
  if (step.kind === "event")
    return (
      <>
        The event <b>{step.event}</b>
        {until ? <>, until {until}</> : <>, for as long as it takes</>}
      </>
    );
  if (step.kind === "sleep") return <>It sleeps until {until}</>;
  return (
    <>
      The job <b>{step.name.replace(/^run /, "")}</b> {step.job && <JobLink id={step.job} />}
    </>
  );
}

const SHOWN = 5;

/** What went wrong first; what only failed because of it is seen in the graph. */
function Failed({ whole }: { whole: Whole }): JSX.Element | null {
  const failed = whole.parts.filter((part) => part.state === "failed" && part.error?.type !== "PartFailed");
  if (!failed.length) return null;
  return (
    <Card
      title={`What failed${failed.length > SHOWN ? `, ${SHOWN} of ${plural(failed.length, "job")}` : ""}`}
      aside={
        <Link to="/jobs" query={{ q: `state:failed ${token("root", whole.id)}` }}>
          All that failed
        </Link>
      }
    >
      <ul class="went-wrong">
        {failed.slice(0, SHOWN).map((part) => (
          <li key={part.id}>
            <StateIcon state="failed" />
            <TaskName name={part.task} to={jobPath(part.id)} />
            <span class="error-text">
              <b>{part.error?.type}</b> {part.error?.message}
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Steps({ steps }: { steps: readonly Step[] }): JSX.Element {
  return (
    <div class="scroller">
      <table class="table steps">
        <thead>
          <tr>
            <th scope="col" class="step-number">
              step
            </th>
            <th scope="col">what</th>
            <th scope="col">became of it</th>
            <th scope="col" class="right c2">
              when
            </th>
          </tr>
        </thead>
        <tbody>
          {steps.map((step) => (
            <tr key={step.number}>
              <td class="step-number number">{step.number}</td>
              <td class="target">
                {step.name} {step.job && <JobLink id={step.job} />}
              </td>
              <td>
                <StepEnd step={step} />
              </td>
              <td class="right when c2">
                <Ago at={step.ended ?? step.at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function StepEnd({ step }: { step: Step }): JSX.Element {
  if (step.outcome === "late") return <span class="badge faint">did not come in time</span>;
  const words = {
    waiting: step.until ? (
      <span>
        {step.kind === "sleep" ? "sleeps" : "waits"} until <Clock at={step.until} />
      </span>
    ) : (
      "waits"
    ),
    succeeded: { event: "came", sleep: "slept", run: "succeeded", call: "remembered" }[step.kind],
    failed: "failed",
    cancelled: "cancelled",
  }[step.outcome];
  return (
    <span class={`badge is-${step.outcome}`}>
      <StateIcon state={step.outcome} />
      {words}
    </span>
  );
}
