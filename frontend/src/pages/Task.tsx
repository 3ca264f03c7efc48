import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { perform } from "../actions";
import { act, reads } from "../api";
import { token } from "../filter";
import { compact, duration, length, share } from "../format";
import { parseJson, printJson } from "../json";
import { useRead } from "../read";
import { go, jobPath, Link, queuePath } from "../router";
import { may } from "../settings";
import { Button, Card, Head, Skeleton, Tabs, TaskName, Trouble, useTitle } from "../parts/basic";
import { Throughput, Times } from "../parts/charts";
import { argumentsOf, firstTexts, SchemaForm, type Texts } from "../parts/SchemaForm";
import { range } from "../parts/Shell";
import type { TaskRow } from "../types";

const WAYS = [
  ["form", "Form"],
  ["json", "JSON"],
] as const;

function RunForm({ task }: { task: TaskRow }): JSX.Element {
  const [texts, setTexts] = useState<Texts>(() => firstTexts(task.schema));
  const [wrong, setWrong] = useState<Texts>({});
  const [json, setJson] = useState<string | null>(null);
  const run = (given: unknown): void =>
    void perform(() => act.run(task.name, given), "Handed in").then((made) => {
      if (made) go(jobPath(made.id));
    });
  const submit = (event: Event): void => {
    event.preventDefault();
    if (json !== null) {
      try {
        run(parseJson(json));
      } catch (error) {
        setWrong({ json: (error as Error).message });
      }
      return;
    }
    const meant = argumentsOf(task.schema, texts);
    setWrong(meant.wrong);
    const [first] = Object.keys(meant.wrong);
    if (first) document.getElementById(`field-${first}`)?.focus();
    else run(meant.value);
  };
  const way = (name: string): void => {
    setWrong({});
    setJson(name === "json" ? printJson(argumentsOf(task.schema, texts).value) : null);
  };
  return (
    <Card title="Run it" aside={<Tabs of={WAYS} now={json === null ? "form" : "json"} pick={way} label="Fill in as" />}>
      <form onSubmit={submit} noValidate>
        {json === null ? (
          <SchemaForm schema={task.schema} texts={texts} change={setTexts} wrong={wrong} />
        ) : (
          <label class="field">
            <span>Arguments</span>
            <textarea
              class="mono"
              rows={8}
              value={json}
              spellcheck={false}
              onInput={(event) => setJson(event.currentTarget.value)}
            />
            <span class="wrong">{wrong.json}</span>
          </label>
        )}
        <div class="dialog-end">
          <Button kind="main" icon="play" type="submit">
            Run now
          </Button>
        </div>
      </form>
    </Card>
  );
}

export function Task({ name }: { name: string }): JSX.Element {
  useTitle(name);
  const { value, problem, again } = useRead(reads.task(name, range()));
  const head = (
    <Head
      title={<TaskName name={name} link={false} />}
      up={["/tasks", "Task types"]}
      actions={
        <Link class="button" to="/jobs" query={{ q: token("task", name) }}>
          Its jobs
        </Link>
      }
    >
      {value?.task.doc && <p class="lead">{value.task.doc.split("\n")[0]}</p>}
    </Head>
  );
  if (!value)
    return (
      <>
        {head}
        {problem ? (
          <Trouble problem={problem} again={again} />
        ) : (
          <>
            <Skeleton block />
            <Skeleton />
          </>
        )}
      </>
    );
  const { task, series } = value;
  const facts: [string, JSX.Element | string][] = [
    ["Queue", <Link to={queuePath(task.queue)}>{task.queue}</Link>],
    ["Lane", task.lane],
    ["Attempts", String(task.attempts)],
    ["Timeout", task.timeout === null ? "none" : length(task.timeout)],
    ["Ended", compact(task.count)],
    ["Failed", share(task.failed_share)],
    ["Median run", duration(task.p50)],
    ["95 % run in", duration(task.p95)],
    ["Source", <span class="mono">{task.source}</span>],
  ];
  return (
    <>
      {head}
      {problem && <Trouble problem={problem} again={again} />}
      <div class="split">
        <div class="stack">
          <Card>
            <Throughput series={series} filter={token("task", name)} />
          </Card>
          <Card>
            <Times series={series} what="run" title="Ran" />
          </Card>
          <Card>
            <Times series={series} what="wait" title="Waited for a worker" />
          </Card>
        </div>
        <div class="stack">
          <Card title="Facts">
            <dl class="facts">
              {facts.map(([label, one]) => (
                <div key={label}>
                  <dt>{label}</dt>
                  <dd>{one}</dd>
                </div>
              ))}
            </dl>
          </Card>
          {may("operator") && <RunForm key={task.name} task={task} />}
        </div>
      </div>
    </>
  );
}
