import type { JSX } from "preact";
import { bytes } from "../format";
import { now } from "../live";
import { Link, workerPath } from "../router";
import type { WorkerRow } from "../types";
import { Elapsed } from "./basic";
import { Slots } from "./figures";

/** Seconds since the last sign of life, told from when the lease ends: late is a worker whose lease is over. */
export const late = (row: WorkerRow): boolean => Date.parse(row.until) < now.value;

export function WorkerState({ row }: { row: WorkerRow }): JSX.Element {
  const state = late(row) ? "late" : row.state;
  return <span class={`tag worker-${state}`}>{state}</span>;
}

export function WorkerTable({ rows, brief }: { rows: readonly WorkerRow[]; brief?: boolean }): JSX.Element {
  return (
    <div class="scroller">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">worker</th>
            <th scope="col">slots</th>
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
              memory
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
                </span>
              </td>
              <td>
                <div class="slot-lines">
                  {Object.entries(row.slots).map(([lane, total]) => (
                    <span key={lane}>
                      <span class="faint lane">{lane}</span>
                      <Slots busy={row.busy[lane] ?? 0} total={total} name={lane} />
                    </span>
                  ))}
                </div>
              </td>
              {!brief && (
                <>
                  <td class="c3">{row.queues.join(", ") || <span class="faint">all</span>}</td>
                  <td class="c2 mono">{row.code || row.version}</td>
                </>
              )}
              <td class="right number c2">{bytes(row.rss)}</td>
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
