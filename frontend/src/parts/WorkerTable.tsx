import type { JSX } from "preact";
import { memory, MIB } from "../format";
import { now } from "../live";
import { Link, workerPath } from "../router";
import { total } from "../series";
import type { WorkerRow } from "../types";
import { Elapsed } from "./basic";
import { Hour, Slots } from "./figures";

/** Seconds since the last sign of life, told from when the lease ends: late is a worker whose lease is over. */
export const late = (row: WorkerRow): boolean => Date.parse(row.until) < now.value;

export function WorkerState({ row }: { row: WorkerRow }): JSX.Element {
  const state = late(row) ? "late" : row.state;
  return <span class={`tag worker-${state}`}>{state}</span>;
}

function SlotsHour({ row }: { row: WorkerRow }): JSX.Element {
  const { busy } = row.past;
  const mean = Math.round(busy.reduce((sum, one) => sum + one, 0) / busy.length);
  const words = busy.length
    ? `slots busy in the last hour: ${mean} on average, ${Math.max(...busy)} at most, of ${total(row.slots)}`
    : "slots busy in the last hour: its first minute is not over";
  return <Hour values={busy} top={total(row.slots)} label={words} width={120} filled />;
}

function MemoryHour({ row }: { row: WorkerRow }): JSX.Element {
  const { mib } = row.past;
  const most = Math.max(...mib, 0);
  const words = mib.length
    ? `memory in the last hour: ${memory(Math.min(...mib) * MIB)} to ${memory(most * MIB)}`
    : "memory in the last hour: its first minute is not over";
  return <Hour values={mib} top={most * 1.15} label={words} width={60} />;
}

export function WorkerTable({ rows, brief }: { rows: readonly WorkerRow[]; brief?: boolean }): JSX.Element {
  return (
    <div class="scroller">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">worker</th>
            <th scope="col">slots{!brief && ", last hour"}</th>
            {!brief && (
              <>
                <th scope="col" class="c3">
                  queues
                </th>
                <th scope="col" class="c2">
                  code
                </th>
              </>
            )}
            <th scope="col" class="right c2">
              memory{!brief && ", last hour"}
            </th>
            {!brief && (
              <th scope="col" class="right c2">
                up for
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.id}>
              <td class="main-cell">
                <Link to={workerPath(row.id)} class="strong">
                  {row.host}
                </Link>
                {(row.state !== "working" || late(row)) && <WorkerState row={row} />}
                <span class="faint mono sub">
                  {row.id.slice(-8)} · pid {row.pid}
                  {row.rss !== null && <span class="narrow">{memory(row.rss)}</span>}
                </span>
              </td>
              <td>
                <div class="slots-hour">
                  <div class="slot-lines">
                    {Object.entries(row.slots).map(([lane, most]) => (
                      <span key={lane}>
                        <span class="faint lane">{lane}</span>
                        <Slots busy={row.busy[lane] ?? 0} total={most} name={lane} />
                      </span>
                    ))}
                  </div>
                  {!brief && <SlotsHour row={row} />}
                </div>
              </td>
              {!brief && (
                <>
                  <td class="c3">{row.queues.join(", ") || <span class="faint">all</span>}</td>
                  <td class="c2 mono">{row.code || row.version}</td>
                </>
              )}
              <td class="right number c2">
                <div class="memory-hour">
                  {!brief && row.rss !== null && <MemoryHour row={row} />}
                  <span>{memory(row.rss)}</span>
                </div>
              </td>
              {!brief && (
                <td class="right c2">
                  <Elapsed from={row.started_at} />
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
