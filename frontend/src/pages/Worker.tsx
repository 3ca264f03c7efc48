import type { JSX } from "preact";
import { confirm, perform } from "../actions";
import { act, reads } from "../api";
import { token } from "../filter";
import { memory } from "../format";
import { useRead } from "../read";
import { jobPath, Link, queuePath } from "../router";
import { may } from "../settings";
import { Ago, Button, Card, Elapsed, Empty, Head, Skeleton, TaskName, Trouble, useTitle } from "../parts/basic";
import { BusySlots, Resident } from "../parts/charts";
import { Traceback } from "../parts/Data";
import { Slots } from "../parts/figures";
import { WorkerState } from "../parts/WorkerTable";
import type { WorkerDetail } from "../types";

function WorkerActions({ row }: { row: WorkerDetail }): JSX.Element | null {
  if (!may("operator")) return null;
  const stop = (): void =>
    confirm({
      title: `Stop ${row.host}?`,
      action: "Stop the worker",
      danger: true,
      text: `It and all under its supervisor take no new job, give what runs time to end, and go. Whoever started them may start them again.`,
      run: () => void perform(() => act.worker(row.id, "stop"), "It was told to stop"),
    });
  return (
    <>
      <Button icon="eye" onClick={() => void perform(() => act.worker(row.id, "dump"), "Its stacks are on the way")}>
        Dump stacks
      </Button>
      <Button
        icon={row.state === "quiet" ? "play" : "pause"}
        disabled={row.state === "draining"}
        onClick={() =>
          void (row.state === "quiet"
            ? perform(() => act.worker(row.id, "work"), "It takes jobs again")
            : perform(() => act.worker(row.id, "quiet"), "It takes no new job"))
        }
      >
        {row.state === "quiet" ? "Work again" : "Quiet"}
      </Button>
      {may("admin") && (
        <Button icon="stop" kind="danger" onClick={stop}>
          Stop
        </Button>
      )}
    </>
  );
}

export function Worker({ id }: { id: string }): JSX.Element {
  const { value: row, problem, again } = useRead(reads.worker(id));
  useTitle(row?.host ?? "Worker");
  const head = (
    <Head
      title={
        row ? (
          <>
            {row.host} <WorkerState row={row} />
          </>
        ) : (
          "Worker"
        )
      }
      up={["/workers", "Workers"]}
      actions={row && <WorkerActions row={row} />}
    >
      <div class="job-state">
        <span class="mono faint">{id}</span>
      </div>
    </Head>
  );
  if (!row)
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
  const facts: [string, JSX.Element | string][] = [
    ["Up for", <Elapsed from={row.started_at} />],
    ["Lease until", <Ago at={row.until} />],
    ["Process", String(row.pid)],
    ["Memory", memory(row.rss)],
    ["Windlass", row.version],
    ["Code", row.code || "–"],
    [
      "Queues",
      <>
        {row.queues.map((name) => (
          <Link key={name} class="comma" to={queuePath(name)}>
            {name}
          </Link>
        ))}
      </>,
    ],
  ];
  return (
    <>
      {head}
      {problem && <Trouble problem={problem} again={again} />}
      {row.past.busy.length ? (
        <div class="halves">
          <Card>
            <BusySlots row={row} />
          </Card>
          {row.rss !== null && (
            <Card>
              <Resident row={row} />
            </Card>
          )}
        </div>
      ) : (
        <Card title="The last hour">
          <p class="quietly">Its slots and its memory show here, minute by minute. The first is not over yet.</p>
        </Card>
      )}
      <div class="split">
        <div class="stack">
          <Card
            title="Runs now"
            aside={
              <Link to="/jobs" query={{ q: token("worker", row.id) }}>
                All that it ran
              </Link>
            }
            flush
          >
            {row.jobs.length ? (
              <div class="scroller">
                <table class="table">
                  <thead>
                    <tr>
                      <th scope="col">task</th>
                      <th scope="col" class="c2">
                        queue
                      </th>
                      <th scope="col" class="c2">
                        job
                      </th>
                      <th scope="col" class="right">
                        for
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {row.jobs.map((job) => (
                      <tr key={job.id}>
                        <td>
                          <TaskName name={job.task} to={jobPath(job.id)} />
                        </td>
                        <td class="c2">{job.queue}</td>
                        <td class="mono c2 faint">{job.id.slice(-8)}</td>
                        <td class="right">
                          <Elapsed from={job.started_at} />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            ) : (
              <Empty title="It is idle">Ready for the next job.</Empty>
            )}
          </Card>
          <Card title="Stacks">
            {row.stacks ? (
              <Traceback text={row.stacks} />
            ) : (
              <p class="quietly">
                {may("operator")
                  ? "“Dump stacks” asks the worker where each of its threads and coroutines is. The answer shows here."
                  : "Nobody asked it for its stacks yet."}
              </p>
            )}
          </Card>
        </div>
        <div class="stack">
          <Card title="Slots">
            {Object.entries(row.slots).map(([lane, total]) => (
              <p class="slot-line" key={lane}>
                <span>{lane}</span>
                <Slots busy={row.busy[lane] ?? 0} total={total} name={lane} />
                <span class="number faint">
                  {row.busy[lane] ?? 0} of {total}
                </span>
              </p>
            ))}
          </Card>
          <Card title="Facts">
            <dl class="facts">
              {facts.map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{value}</dd>
                </div>
              ))}
            </dl>
          </Card>
        </div>
      </div>
    </>
  );
}
