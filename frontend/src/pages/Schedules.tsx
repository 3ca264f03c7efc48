/** What runs by itself: when it does next, how it ended last, and what an operator may do about it. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { perform } from "../actions";
import { act, reads } from "../api";
import { clock, plural } from "../format";
import { token } from "../filter";
import { now } from "../live";
import { useRead } from "../read";
import { Link, jobPath } from "../router";
import { may, zone } from "../settings";
import type { ScheduleRow } from "../types";
import { Ago, Button, Card, Clock, Empty, Head, Skeleton, TaskName, Trouble, useTitle } from "../parts/basic";
import { EditSchedule } from "../parts/EditSchedule";

const CODE = `from windlass import Cron

@app.task(schedule=Cron("0 9 * * mon-fri", tz="Europe/Berlin"))
async def report() -> None: ...`;
const DAY = 86_400_000;

export function Schedules(): JSX.Element {
  useTitle("Schedules");
  const { value, problem, again } = useRead(reads.schedules());
  const [editing, setEditing] = useState("");
  const rows = value?.schedules ?? [];
  const edited = rows.find((row) => row.name === editing);
  return (
    <>
      <Head title="Schedules" />
      {problem && <Trouble problem={problem} again={again} />}
      {rows.length > 0 && (
        <Card title="The next 24 hours">
          <Day rows={rows} />
        </Card>
      )}
      <Card flush>
        {!value ? (
          !problem && <Skeleton />
        ) : rows.length ? (
          <Table rows={rows} edit={setEditing} />
        ) : (
          <Empty title="Nothing runs by itself yet" code={CODE}>
            This line above a task is enough; every worker sees to it, and there is no other process to start.
          </Empty>
        )}
      </Card>
      {edited && <EditSchedule row={edited} close={() => setEditing("")} />}
    </>
  );
}

/** What is to come, to scale. What comes too often to be told apart is a band. */
function Day({ rows }: { rows: readonly ScheduleRow[] }): JSX.Element {
  const start = now.value;
  const hour = (part: number): string => clock(start + part * DAY, zone.value, start + part * DAY, false);
  return (
    <div class="day">
      {rows.map((row) => {
        const ahead = (row.day ?? [])
          .map((at) => (Date.parse(at) - start) / DAY)
          .filter((part) => part >= 0 && part <= 1);
        const said = row.paused ? "paused" : row.day ? plural(ahead.length, "time") : "more than 48 times";
        return (
          <div class="day-row" key={row.name}>
            <span class={row.paused ? "faint" : ""} title={row.name}>
              {row.name}
            </span>
            <svg role="img" aria-label={`${row.name}: ${said}`}>
              {!row.day && !row.paused && <rect x="0" y="5" width="100%" height="8" rx="4" />}
              {ahead.map((part) => (
                <circle key={part} cx={`${(part * 100).toFixed(2)}%`} cy="9" r="3.5">
                  <title>{clock(start + part * DAY, zone.value, start)}</title>
                </circle>
              ))}
            </svg>
          </div>
        );
      })}
      <div class="day-row axis" aria-hidden="true">
        <span />
        <span class="day-hours">
          <span>now</span>
          {[0.25, 0.5, 0.75, 1].map((part) => (
            <span key={part}>{hour(part)}</span>
          ))}
        </span>
      </div>
    </div>
  );
}

function Table({ rows, edit }: { rows: readonly ScheduleRow[]; edit: (name: string) => void }): JSX.Element {
  return (
    <div class="scroller">
      <table class="table schedules">
        <thead>
          <tr>
            <th scope="col">schedule</th>
            <th scope="col" class="c2">
              task
            </th>
            <th scope="col">next</th>
            <th scope="col" class="c2">
              last
            </th>
            <th scope="col" class="c3">
              ended
            </th>
            {may("operator") && (
              <th scope="col">
                <span class="offscreen">Actions</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name} class={row.paused ? "muted" : ""}>
              <td class="target">
                <Link to="/jobs" query={{ q: token("meta.schedule", row.name) }} class="strong" title="Its jobs">
                  {row.name}
                </Link>
                {row.paused && <span class="tag">paused</span>}
                {row.edited.length > 0 && (
                  <span class="tag" title={`The code says otherwise: ${row.edited.join(", ")}`}>
                    edited
                  </span>
                )}
                <span class="faint sub">{row.said}</span>
              </td>
              <td class="c2">
                <TaskName name={row.task} />
              </td>
              <td class="when">
                <Ago at={row.next[0] ?? null} />
                {row.next.length > 0 && (
                  <span class="faint sub">
                    <Clock at={row.next[0]} />
                  </span>
                )}
              </td>
              <td class="when c2">
                <Ago at={row.ticks[0]?.at ?? null} />
              </td>
              <td class="c3">
                <Ends row={row} />
              </td>
              {may("operator") && (
                <td class="right">
                  <Actions row={row} edit={edit} />
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** How the latest ticks ended, the last one at the right and in words. */
function Ends({ row }: { row: ScheduleRow }): JSX.Element {
  const [last] = row.ticks;
  if (!last) return <span class="faint">not yet</span>;
  const told = last.outcome !== "skipped" && last.outcome !== "gone";
  return (
    <span class="ends">
      {[...row.ticks].reverse().map((tick) => (
        <svg key={tick.at} class={`is-${tick.outcome}`} viewBox="0 0 8 14" aria-hidden="true">
          <title>{`${clock(Date.parse(tick.at), zone.value, now.value)} ${tick.outcome}`}</title>
          <rect
            x="0.5"
            y={tick.outcome === "skipped" ? 6 : 1}
            width="7"
            height={tick.outcome === "skipped" ? 2 : 12}
            rx="1"
          />
        </svg>
      ))}
      {told ? (
        <Link to={jobPath(last.id)} class={`is-${last.outcome}`}>
          {last.outcome}
        </Link>
      ) : (
        <span class="faint">{last.outcome}</span>
      )}
    </span>
  );
}

function Actions({ row, edit }: { row: ScheduleRow; edit: (name: string) => void }): JSX.Element {
  const turn = row.paused ? "resume" : "pause";
  return (
    <span class="row-actions">
      <Button
        kind="quiet"
        icon="step"
        label={`Run ${row.name} now`}
        onClick={() => void perform(() => act.runSchedule(row.name), `A job of ${row.name} is made`)}
      />
      <Button
        kind="quiet"
        icon={row.paused ? "play" : "pause"}
        label={`${row.paused ? "Resume" : "Pause"} ${row.name}`}
        onClick={() =>
          void perform(
            () => act.schedule(row.name, turn),
            row.paused ? `${row.name} fires again` : `${row.name} is paused; what runs goes on`,
            () => act.schedule(row.name, row.paused ? "pause" : "resume"),
          )
        }
      />
      <Button kind="quiet" icon="edit" label={`Edit ${row.name}`} onClick={() => edit(row.name)} />
    </span>
  );
}
