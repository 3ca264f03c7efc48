/** One job: what it does, why it does not, what it said, and what to do about it. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { reads } from "../api";
import { token } from "../filter";
import { bytes, length, plural, shortId } from "../format";
import { useRead } from "../read";
import { Link, param, queuePath, setQuery, taskPath, workerPath, workflowPath } from "../router";
import {
  Ago,
  Card,
  Clock,
  CodeBlock,
  CopyButton,
  Elapsed,
  Head,
  JobLink,
  Skeleton,
  Tabs,
  TaskName,
  Trouble,
  useTitle,
} from "../parts/basic";
import { PayloadView, Traceback } from "../parts/Data";
import { ProgressBar } from "../parts/figures";
import { JobActions } from "../parts/JobActions";
import { badge } from "../parts/JobTable";
import { Icon } from "../parts/icons";
import { Logs } from "../parts/Logs";
import { Timeline } from "../parts/Timeline";
import { useJobEvents } from "../parts/useJobEvents";
import { finished, type JobDetail, type Span } from "../types";

/** Ids of other jobs in a sentence. */
const ID = /([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/;

function Why({ words }: { words: string[] }): JSX.Element | null {
  if (!words.length) return null;
  return (
    <section class="why">
      <Icon name="help" />
      <div>
        <h2>Why is it not running?</h2>
        <ul>
          {words.map((one) => (
            <li key={one}>
              {one.split(ID).map((part, index) => (index % 2 ? <JobLink id={part}>{part}</JobLink> : part))}
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}

function Whole({ job }: { job: JobDetail }): JSX.Element {
  const root = job.root ?? job.id;
  return <Link to={workflowPath(root)}>{root === job.id ? "its graph" : `part of ${shortId(root)}`}</Link>;
}

function Key({ job }: { job: JobDetail }): JSX.Element {
  return (
    <>
      <span class="mono">{job.key}</span>{" "}
      <span class="faint">
        {job.holder === job.id ? (
          "held by this job"
        ) : job.holder ? (
          <>
            held by <JobLink id={job.holder} />
          </>
        ) : (
          "free again"
        )}
      </span>
    </>
  );
}

function Facts({ job }: { job: JobDetail }): JSX.Element {
  const facts: [string, JSX.Element | string | null][] = [
    ["Queue", <Link to={queuePath(job.queue)}>{job.queue}</Link>],
    ["Made", <Ago at={job.created_at} />],
    [job.state === "scheduled" ? "Due" : "Ready", <Clock at={job.run_at} />],
    ["Started", job.started_at && <Clock at={job.started_at} />],
    [
      job.finished_at ? "Ran" : "Runs for",
      job.started_at && (job.finished_at || job.state === "running") ? (
        <Elapsed from={job.started_at} until={job.finished_at} />
      ) : null,
    ],
    [
      "Worker",
      job.worker && (
        <Link class="mono" to={workerPath(job.worker)} title={job.worker}>
          {shortId(job.worker)}
        </Link>
      ),
    ],
    ["Lane", job.lane],
    ["Priority", String(job.priority)],
    ["Timeout", job.timeout === null ? null : length(job.timeout)],
    ["Expires", job.expires_at && <Ago at={job.expires_at} />],
    ["Workflow", job.root && <Whole job={job} />],
    ["Key", job.key && <Key job={job} />],
    ["Code", job.version && <span class="mono">{job.version}</span>],
    ["Crashes", job.crashes ? <span class="bad-text">{job.crashes}</span> : null],
    ["Reason", job.reason],
    ...Object.entries(job.meta).map(([name, value]): [string, JSX.Element] => [
      name,
      <Link class="mono" to="/jobs" query={{ q: token(`meta.${name}`, value) }}>
        {value}
      </Link>,
    ]),
  ];
  return (
    <dl class="facts">
      {facts.map(
        ([name, value]) =>
          value && (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

function Attempts({ job }: { job: JobDetail }): JSX.Element | null {
  const runs = job.timeline.filter((span) => span.error);
  if (!runs.length && !job.traceback && !job.error) return null;
  const latest = runs.length ? null : job.error;
  return (
    <Card
      title={plural(Math.max(runs.length, 1), "failed attempt")}
      aside={
        job.fingerprint && (
          <Link to="/jobs" query={{ q: token("fault", job.fingerprint) }}>
            All that failed alike
          </Link>
        )
      }
    >
      {[...runs].reverse().map((run, index) => (
        <Attempt key={run.at} run={run} open={index === 0 && job.state !== "succeeded"} />
      ))}
      {latest && (
        <>
          <p class="error-text">
            <b>{latest.type}</b> {latest.message}
          </p>
          {job.traceback && <Traceback text={job.traceback} />}
        </>
      )}
    </Card>
  );
}

function Attempt({ run, open }: { run: Span; open: boolean }): JSX.Element {
  return (
    <details class="attempt" open={open}>
      <summary>
        <Icon name="right" />
        <b>Attempt {run.attempt}</b>
        <span class={`kind is-${run.kind}`}>{run.kind}</span>
        <span class="error-text">
          <b>{run.error?.type}</b> {run.error?.message}
        </span>
        <span class="faint">
          <Clock at={run.until ?? run.at} />
        </span>
      </summary>
      {run.worker && (
        <p class="faint">
          on{" "}
          <Link class="mono" to={workerPath(run.worker)} title={run.worker}>
            {shortId(run.worker)}
          </Link>
          , after <Elapsed from={run.at} until={run.until} />
        </p>
      )}
      {run.error?.traceback ? (
        <Traceback text={run.error.traceback} />
      ) : (
        <p class="faint">No traceback was kept of this attempt.</p>
      )}
    </details>
  );
}

const CODES = [
  ["python", "Python"],
  ["cli", "Shell"],
  ["curl", "curl"],
] as const;

export function Job({ id }: { id: string }): JSX.Element {
  const [reveal, setReveal] = useState(false);
  const { value: job, problem, again } = useRead(reads.job(id, reveal), { live: false });
  const stream = useJobEvents(id, again, Boolean(job), Boolean(job && finished(job.state)));
  useTitle(job ? `${job.task} ${job.state}` : "Job");
  const code = (CODES.find(([name]) => name === param("code")) ?? CODES[0])[0];
  if (!job)
    return (
      <>
        <Head title="Job" up={["/jobs", "Jobs"]} />
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
  const progress = stream.progress ?? job.progress;
  const evidence = Object.entries(job.evidence);
  return (
    <>
      <Head
        title={<TaskName name={job.task} to={taskPath(job.task)} />}
        up={["/jobs", "Jobs"]}
        actions={<JobActions job={job} />}
      >
        <div class="job-state">
          {badge(job)}
          <span class="mono faint">{job.id}</span>
          <CopyButton text={job.id} />
        </div>
      </Head>
      {problem && <Trouble problem={problem} again={again} />}
      {progress && !finished(job.state) && (
        <div class="job-progress">
          <ProgressBar progress={progress} />
        </div>
      )}
      <Why words={job.why} />
      <div class="split job">
        <div class="stack">
          <Card title="Attempts, to scale">
            <Timeline spans={job.timeline} />
          </Card>
          <Attempts job={job} />
          {evidence.length > 0 && (
            <Card title="What the crash left behind">
              <dl class="facts">
                {evidence.map(([name, value]) => (
                  <div key={name}>
                    <dt>{name.replaceAll("_", " ")}</dt>
                    <dd class="mono">
                      {/bytes|rss|memory/.test(name) && typeof value === "number" ? bytes(value) : String(value)}
                    </dd>
                  </div>
                ))}
              </dl>
            </Card>
          )}
          <Card title="Log" aside={stream.state === "lost" ? "reconnecting…" : undefined}>
            <Logs
              lines={stream.lines}
              running={!finished(job.state)}
              empty={
                finished(job.state)
                  ? "It logged nothing."
                  : "Nothing yet. What the task logs, or says with current().log, shows here as it comes."
              }
            />
          </Card>
          {stream.chunks.length > 0 && (
            <Card title="Partial results" aside={plural(stream.chunks.length, "chunk")}>
              <div class="code">
                <pre tabIndex={0}>{stream.chunks.join("")}</pre>
              </div>
            </Card>
          )}
        </div>
        <div class="stack">
          <Card title="Facts">
            <Facts job={job} />
          </Card>
          <Card title="Arguments">
            <PayloadView payload={job.arguments} name="Arguments" reveal={() => setReveal(true)} />
          </Card>
          {job.result && (
            <Card title="Result">
              <PayloadView payload={job.result} name="Result" reveal={() => setReveal(true)} />
            </Card>
          )}
          <Card
            title="The same again"
            aside={<Tabs of={CODES} now={code} pick={(name) => setQuery({ code: name }, true)} label="Language" />}
          >
            <CodeBlock code={job.code[code]} label="Code" />
          </Card>
        </div>
      </div>
    </>
  );
}
