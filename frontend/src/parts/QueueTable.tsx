/** Queues in a table that sorts: is any of them failing, growing, standing still? */
import type { JSX } from "preact";
import { act } from "../api";
import { perform } from "../actions";
import { compact, duration, rate, share } from "../format";
import { Link, param, queuePath, setQuery } from "../router";
import { may } from "../settings";
import type { QueueRow } from "../types";
import { Button, JobsLink } from "./basic";
import { Spark } from "./figures";
import { token } from "../filter";

type By = "name" | "ready" | "oldest" | "in" | "out" | "drain" | "failed";
const KEYS: Record<By, (row: QueueRow) => number | string> = {
  name: (row) => row.name,
  ready: (row) => row.counts.ready ?? 0,
  oldest: (row) => row.oldest ?? -1,
  in: (row) => row.in_rate,
  out: (row) => row.out_rate,
  drain: (row) => drainOrder(row),
  failed: (row) => row.failed_share,
};

const growing = (row: QueueRow): boolean => row.drain === null && (row.counts.ready ?? 0) > 0;
const drainOrder = (row: QueueRow): number => (growing(row) ? Infinity : (row.drain ?? 0));

export function sortQueues(rows: readonly QueueRow[], by: By): QueueRow[] {
  const key = KEYS[by] ?? KEYS.name;
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    const order = typeof x === "string" ? x.localeCompare(String(y)) : x === y ? 0 : Number(y) > Number(x) ? 1 : -1;
    return order || a.name.localeCompare(b.name);
  });
}

export function pauseOrResume(row: { name: string; paused: boolean }): void {
  const now = row.paused ? "resume" : "pause";
  const back = row.paused ? "pause" : "resume";
  void perform(
    () => act.queue(row.name, now),
    row.paused ? `${row.name} is served again` : `${row.name} is paused; what runs goes on`,
    () => act.queue(row.name, back),
  );
}

export function Drain({ row }: { row: QueueRow }): JSX.Element {
  if (!(row.counts.ready ?? 0)) return <span class="faint">empty</span>;
  if (row.paused) return <span class="faint">paused</span>;
  if (row.drain === null)
    return (
      <span class="warn-text" title="More comes in than goes out.">
        never ▲
      </span>
    );
  return <>{duration(row.drain)}</>;
}

export function QueueTable({ rows }: { rows: readonly QueueRow[] }): JSX.Element {
  const by = param("sort", "name") as By;
  const column = (name: By, text: string, rest = "", title = ""): JSX.Element => (
    <th
      scope="col"
      class={`${name === "name" ? "" : "right"} ${rest}`}
      aria-sort={by === name ? (name === "name" ? "ascending" : "descending") : undefined}
    >
      <button
        type="button"
        title={title || undefined}
        onClick={() => setQuery({ sort: name === "name" ? null : name }, true)}
      >
        {text}
      </button>
    </th>
  );
  return (
    <div class="scroller">
      <table class="table">
        <thead>
          <tr>
            {column("name", "queue")}
            {column("ready", "ready")}
            <th scope="col" class="right c2">
              running
            </th>
            {column("oldest", "oldest", "", "How long the one that waits longest has waited")}
            {column("in", "in", "c3", "Jobs made, over the last five minutes")}
            {column("out", "out", "c3", "Jobs ended, over the last five minutes")}
            {column("drain", "empty in", "c3", "At these rates")}
            {column("failed", "failed")}
            <th scope="col" class="c2">
              done
            </th>
            {may("operator") && (
              <th scope="col" class="c3">
                <span class="offscreen">Actions</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {sortQueues(rows, by).map((row) => (
            <tr key={row.name} class={row.paused ? "muted" : ""}>
              <td>
                <Link to={queuePath(row.name)} class="strong">
                  {row.name}
                </Link>
                {row.paused && <span class="tag">paused</span>}
              </td>
              <td class="right">
                <JobsLink q={`state:ready ${token("queue", row.name)}`}>{compact(row.counts.ready ?? 0)}</JobsLink>
              </td>
              <td class="right c2">
                <JobsLink q={`state:running ${token("queue", row.name)}`}>
                  {row.busy}
                  <span class="faint"> / {row.slots}</span>
                </JobsLink>
              </td>
              <td class={`right number ${(row.oldest ?? 0) > 300 && !row.paused ? "warn-text" : ""}`}>
                {duration(row.oldest)}
              </td>
              <td class="right number c3">{rate(row.in_rate)}</td>
              <td class="right number c3">{rate(row.out_rate)}</td>
              <td class="right number c3">
                <Drain row={row} />
              </td>
              <td class="right">
                <JobsLink q={`state:failed ${token("queue", row.name)}`}>
                  <span class={row.failed_share >= 0.05 ? "bad-text" : ""}>{share(row.failed_share)}</span>
                </JobsLink>
              </td>
              <td class="c2">
                <Spark values={row.spark} label={`what ${row.name} did lately`} />
              </td>
              {may("operator") && (
                <td class="c3 right">
                  <Button
                    kind="quiet"
                    icon={row.paused ? "play" : "pause"}
                    label={`${row.paused ? "Resume" : "Pause"} ${row.name}`}
                    onClick={() => pauseOrResume(row)}
                  />
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
