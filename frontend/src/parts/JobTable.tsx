/** Jobs in rows: keyed, walked with j and k, selected with x, opened with Enter. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { count } from "../format";
import { useKeys } from "../keys";
import { go, jobPath, Link, queuePath } from "../router";
import type { JobRow, Progress } from "../types";
import { Ago, Elapsed, TaskName } from "./basic";
import { ProgressBar } from "./figures";
import { StateBadge } from "./icons";

interface Props {
  rows: readonly JobRow[];
  picked?: ReadonlySet<string>;
  pick?: (ids: string[], on: boolean) => void;
  queue?: boolean;
  to?: (id: string) => string;
}

/** When a job last did something, and in what words. */
function When({ row }: { row: JobRow }): JSX.Element {
  if (row.finished_at) return <Ago at={row.finished_at} />;
  if (row.state === "scheduled") return <Ago at={row.run_at} />;
  return <Ago at={row.state === "running" ? row.started_at : row.run_at} />;
}

/** Whether it still waits for some of several others. */
const heard = (row: JobRow): boolean =>
  row.state === "waiting" && row.started_at === null && row.awaited > 1 && row.letters < row.awaited;
/** Whether it is a flow that waits for an event, a job or its time. */
const suspended = (row: JobRow): boolean =>
  (row.state === "waiting" || row.state === "scheduled") && row.started_at !== null && row.letters < row.awaited;
const heardOf = ({ letters, awaited }: JobRow): Progress => ({
  current: letters,
  total: awaited,
  message: `${count(letters)} of ${count(awaited)} jobs have finished`,
  share: letters / awaited,
});

function What({ row }: { row: JobRow }): JSX.Element {
  if (row.state === "running" && row.progress) return <ProgressBar progress={row.progress} />;
  if (row.error && row.state !== "succeeded") {
    return (
      <span class="error-text" title={`${row.error.type}: ${row.error.message}`}>
        <b>{row.error.type}</b> {row.error.message}
      </span>
    );
  }
  if (heard(row)) return <ProgressBar progress={heardOf(row)} />;
  if (suspended(row)) return <span class="faint">suspended, no slot is held</span>;
  return <span class="faint">{row.reason ?? row.key ?? ""}</span>;
}

export const badge = (row: JobRow): JSX.Element => (
  <StateBadge state={row.state} note={row.cancelling ? "cancelling" : undefined} />
);

export function JobTable({ rows, picked, pick, queue = true, to = jobPath }: Props): JSX.Element {
  const [cursor, setCursor] = useState<string | null>(null);
  const at = rows.findIndex((row) => row.id === cursor);
  const walk = (step: number): void =>
    setCursor(
      rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step))]?.id ?? null,
    );
  useKeys({
    j: () => walk(1),
    k: () => walk(-1),
    x: () => {
      if (cursor) pick?.([cursor], !picked?.has(cursor));
    },
    Enter: () => {
      if (cursor) go(to(cursor));
    },
    Escape: () => {
      setCursor(null);
      pick?.([...(picked ?? [])], false);
    },
  });
  useEffect(() => {
    if (cursor) document.getElementById(`row-${cursor}`)?.scrollIntoView({ block: "nearest" });
  }, [cursor]);
  const all = rows.length > 0 && rows.every((row) => picked?.has(row.id));
  return (
    <div class="scroller">
      <table class="table jobs">
        <thead>
          <tr>
            {pick && (
              <th scope="col" class="check">
                <input
                  type="checkbox"
                  aria-label="Select all on this page"
                  checked={all}
                  onChange={() =>
                    pick(
                      rows.map((row) => row.id),
                      !all,
                    )
                  }
                />
              </th>
            )}
            <th scope="col">state</th>
            <th scope="col">task</th>
            {queue && (
              <th scope="col" class="c2">
                queue
              </th>
            )}
            <th scope="col" class="c2">
              progress, error
            </th>
            <th scope="col" class="right c3">
              try
            </th>
            <th scope="col" class="right c2">
              ran
            </th>
            <th scope="col" class="right">
              when
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr
              key={row.id}
              id={`row-${row.id}`}
              class={row.id === cursor ? "cursor" : ""}
              aria-selected={picked?.has(row.id)}
            >
              {pick && (
                <td class="check">
                  <input
                    type="checkbox"
                    aria-label={`Select ${row.task}, ${row.id}`}
                    checked={picked?.has(row.id) ?? false}
                    onChange={(event) => pick([row.id], event.currentTarget.checked)}
                  />
                </td>
              )}
              <td class="state-cell">{badge(row)}</td>
              <td class="main-cell">
                <TaskName name={row.task} to={to(row.id)} />
                <span class="under">
                  {row.error && row.state !== "succeeded" ? (
                    `${row.error.type}: ${row.error.message}`
                  ) : row.progress && row.state === "running" ? (
                    <ProgressBar progress={row.progress} compact />
                  ) : heard(row) ? (
                    <ProgressBar progress={heardOf(row)} compact />
                  ) : (
                    row.queue
                  )}
                </span>
              </td>
              {queue && (
                <td class="c2">
                  <Link class="plain" to={queuePath(row.queue)}>
                    {row.queue}
                  </Link>
                </td>
              )}
              <td class="c2 what">
                <What row={row} />
              </td>
              <td class="right number c3">
                {row.attempt || <span class="faint">–</span>}
                {row.crashes > 0 && (
                  <span class="bad-text" title={`${row.crashes} crashes`}>
                    {" "}
                    +{row.crashes}✕
                  </span>
                )}
              </td>
              <td class="right c2">
                {row.started_at && (row.finished_at || row.state === "running") ? (
                  <Elapsed from={row.started_at} until={row.finished_at} />
                ) : (
                  <span class="faint">–</span>
                )}
              </td>
              <td class="right when">
                <When row={row} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
