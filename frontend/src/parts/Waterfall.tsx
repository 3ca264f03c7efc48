/** When each part of a workflow waited (a thin line) and ran (a bar), to one scale. */
import type { JSX } from "preact";
import { duration, plural } from "../format";
import type { Node } from "../graph";
import { now } from "../live";
import { jobPath, Link } from "../router";
import type { Step } from "../types";
import { ROWS, rowsOf, type Row } from "../waterfall";
import { TaskName } from "./basic";
import { StateIcon } from "./icons";
import { Axis } from "./Timeline";

export function Waterfall({ nodes, steps }: { nodes: readonly Node[]; steps: readonly Step[] }): JSX.Element {
  const all = rowsOf(nodes, steps, now.value);
  const rows = all.slice(0, ROWS);
  const bars = rows.flatMap((row) => row.bars);
  const start = Math.min(...bars.map((bar) => bar.from));
  const end = Math.max(...bars.map((bar) => bar.until), start + 1);
  return (
    <>
      <div class="timeline waterfall">
        {rows.map((row) => (
          <Line key={row.id} row={row} start={start} end={end} />
        ))}
        <Axis start={start} end={end} />
      </div>
      {all.length > rows.length && (
        <p class="quietly">{plural(all.length - rows.length, "more row")} that began later are not shown.</p>
      )}
    </>
  );
}

function Line({ row, start, end }: { row: Row; start: number; end: number }): JSX.Element {
  const place = (at: number): number => ((at - start) / (end - start)) * 100;
  const length = (wait: boolean): number =>
    row.bars.filter((bar) => bar.wait === wait).reduce((sum, bar) => sum + bar.until - bar.from, 0) / 1000;
  const [waited, ran] = [length(true), length(false)];
  const told = row.bars.some((bar) => !bar.wait) ? duration(ran) : `waited ${duration(waited)}`;
  return (
    <div class="timeline-row">
      <span class="waterfall-name">
        <StateIcon state={row.state} />
        {row.note === "step" ? (
          <span class="task" title={row.name}>
            {row.job ? <Link to={jobPath(row.job)}>{row.name}</Link> : row.name}
          </span>
        ) : (
          <TaskName name={row.name} to={row.job ? jobPath(row.job) : undefined} link={Boolean(row.job)} />
        )}
        {row.note !== "step" && row.note && <span class="faint number">{row.note}</span>}
      </span>
      <svg viewBox="0 0 100 22" preserveAspectRatio="none" role="img" aria-label={`${row.name}: ${row.state}, ${told}`}>
        {row.bars.map((bar) => (
          <rect
            key={bar.kind + bar.from}
            class={`${bar.wait ? "wait" : "run"} is-${bar.kind}`}
            x={Math.min(place(bar.from), 99.5)}
            width={Math.max(0.5, place(bar.until) - place(bar.from))}
            y={bar.wait ? 10 : 4}
            height={bar.wait ? 2 : 14}
          >
            <title>{`${bar.kind} ${duration((bar.until - bar.from) / 1000)}`}</title>
          </rect>
        ))}
      </svg>
      <span class="timeline-length">
        <span class={row.bars.some((bar) => !bar.wait) ? `is-${row.bars[row.bars.length - 1].kind}` : "faint"}>
          {told}
        </span>
      </span>
    </div>
  );
}
