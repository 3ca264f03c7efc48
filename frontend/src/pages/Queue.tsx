import type { JSX } from "preact";
import { confirm, perform } from "../actions";
import { act, reads } from "../api";
import { compact, count, duration, plural, rate, share } from "../format";
import { token } from "../filter";
import { useRead } from "../read";
import { Link } from "../router";
import { may } from "../settings";
import { Button, Card, Empty, Head, JobsLink, Skeleton, TaskName, Trouble, useTitle } from "../parts/basic";
import { Throughput, Times } from "../parts/charts";
import { Meter, StateBar } from "../parts/figures";
import { StateIcon } from "../parts/icons";
import { Drain, pauseOrResume } from "../parts/QueueTable";
import { range } from "../parts/Shell";
import { WorkerTable } from "../parts/WorkerTable";
import { STATES, type QueueRow } from "../types";

function QueueActions({ row }: { row: QueueRow }): JSX.Element | null {
  if (!may("operator")) return null;
  const waiting = (row.counts.ready ?? 0) + (row.counts.scheduled ?? 0) + (row.counts.waiting ?? 0);
  const purge = (): void =>
    confirm({
      title: `Empty the queue ${row.name}?`,
      action: `Cancel ${count(waiting)} jobs`,
      danger: true,
      typed: row.name,
      text: `The ${count(waiting)} jobs that wait in it are cancelled. What runs goes on.`,
      run: () =>
        void perform(
          () => act.queue(row.name, "purge"),
          (done) => `${count(done.affected)} jobs cancelled`,
        ),
    });
  return (
    <>
      <Button
        kind={row.paused ? "main" : undefined}
        icon={row.paused ? "play" : "pause"}
        onClick={() => pauseOrResume(row)}
      >
        {row.paused ? "Resume" : "Pause"}
      </Button>
      {may("admin") && (
        <Button kind="danger" icon="trash" disabled={!waiting} onClick={purge}>
          Purge
        </Button>
      )}
    </>
  );
}

export function Queue({ name }: { name: string }): JSX.Element {
  useTitle(name);
  const { value, problem, again } = useRead(reads.queue(name, range()));
  const head = (row?: QueueRow): JSX.Element => (
    <Head
      title={
        <>
          {name}
          {row?.paused && <span class="tag">paused</span>}
        </>
      }
      up={["/queues", "Queues"]}
      actions={row && <QueueActions row={row} />}
    />
  );
  if (!value)
    return (
      <>
        {head()}
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
  const { queue: row, series, tasks, workers } = value;
  const present = STATES.filter((state) => row.counts[state]);
  return (
    <>
      {head(row)}
      {problem && <Trouble problem={problem} again={again} />}
      <div class="tiles">
        <div class="tile">
          <span class="tile-name">In</span>
          <b class="tile-value number">{rate(row.in_rate)}</b>
          <span class="tile-note">made, last 5 min</span>
        </div>
        <div class="tile">
          <span class="tile-name">Out</span>
          <b class="tile-value number">{rate(row.out_rate)}</b>
          <span class="tile-note">ended, last 5 min</span>
        </div>
        <div class="tile">
          <span class="tile-name">Empty in</span>
          <b class="tile-value number">
            <Drain row={row} />
          </b>
          <span class="tile-note">at these rates</span>
        </div>
        <div class="tile">
          <span class="tile-name">Oldest waits</span>
          <b class="tile-value number">{duration(row.oldest)}</b>
          <span class="tile-note">for a worker</span>
        </div>
        <div class="tile">
          <span class="tile-name">Slots busy</span>
          <b class="tile-value number">
            {row.busy}
            <small> of {row.slots}</small>
          </b>
          <span class="tile-note">
            <Meter part={row.busy} whole={row.slots} label={`${row.busy} of ${row.slots} slots busy`} />
            {plural(workers.length, "worker")}
          </span>
        </div>
      </div>
      <Card
        title="Jobs by state"
        aside={
          <Link to="/jobs" query={{ q: `${token("queue", name)}` }}>
            All jobs
          </Link>
        }
      >
        <StateBar counts={row.counts} order={present} />
        <ul class="counts">
          {present.map((state) => (
            <li key={state}>
              <JobsLink q={`state:${state} ${token("queue", name)}`}>
                <StateIcon state={state} />
                {state} <b>{compact(row.counts[state] ?? 0)}</b>
              </JobsLink>
            </li>
          ))}
        </ul>
      </Card>
      <Card>
        <Throughput series={series} filter={`${token("queue", name)}`} />
      </Card>
      <div class="halves">
        <Card>
          <Times series={series} what="wait" title="Waited for a worker" />
        </Card>
        <Card>
          <Times series={series} what="run" title="Ran" />
        </Card>
      </div>
      <div class="halves">
        <Card title="Tasks in it" flush>
          {tasks.length ? (
            <div class="scroller">
              <table class="table">
                <thead>
                  <tr>
                    <th scope="col">task</th>
                    <th scope="col" class="right">
                      ended
                    </th>
                    <th scope="col" class="right">
                      failed
                    </th>
                    <th scope="col" class="right">
                      95 % run in
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {tasks.map((task) => (
                    <tr key={task.name}>
                      <td>{task.name ? <TaskName name={task.name} /> : <span class="faint">others</span>}</td>
                      <td class="right number">{compact(task.count)}</td>
                      <td class="right number">{share(task.failed_share)}</td>
                      <td class="right number">{duration(task.p95)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          ) : (
            <Empty title="Nothing ended">in this span of time.</Empty>
          )}
        </Card>
        <Card title="Workers that serve it" flush>
          {workers.length ? (
            <WorkerTable rows={workers} brief />
          ) : (
            <Empty title="No worker serves this queue" code={`windlass worker main:app --queue ${name}`}>
              Its jobs wait until one does.
            </Empty>
          )}
        </Card>
      </div>
    </>
  );
}
