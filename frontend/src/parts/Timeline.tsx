/** A job's life to scale: waits as thin lines, runs as bars, one row for each attempt. */
import type { JSX } from "preact";
import { isWait, rowsOf } from "../attempts";
import { clock, duration } from "../format";
import { now } from "../live";
import { zone } from "../settings";
import type { Span } from "../types";

export function Timeline({ spans }: { spans: readonly Span[] }): JSX.Element | null {
  const rows = rowsOf(spans);
  if (!spans.length || !rows.length) return null;
  const start = Date.parse(spans[0].at);
  const ends = spans.map((span) =>
    span.until ? Date.parse(span.until) : span.kind === "enqueued" ? Date.parse(span.at) : now.value,
  );
  const end = Math.max(...ends, start + 1);
  const place = (at: number): number => ((at - start) / (end - start)) * 100;
  return (
    <div class="timeline">
      {rows.map((row) => {
        const from = Date.parse(row.spans[0].at);
        const waits = row.spans.filter(isWait);
        const run = row.spans.find((span) => !isWait(span));
        const length = (span: Span): number =>
          ((span.until ? Date.parse(span.until) : now.value) - Date.parse(span.at)) / 1000;
        const waited = waits.reduce((sum, span) => sum + length(span), 0);
        return (
          <div class="timeline-row" key={`${row.attempt}-${from}`}>
            <span class="timeline-name">attempt {row.attempt}</span>
            <svg
              viewBox="0 0 100 22"
              preserveAspectRatio="none"
              role="img"
              aria-label={`attempt ${row.attempt}: waited ${duration(waited)}${run ? `, ${run.kind} after ${duration(length(run))}` : ""}`}
            >
              {row.spans.map((span) => {
                const x = place(Date.parse(span.at));
                const width = Math.max(0.35, place(span.until ? Date.parse(span.until) : now.value) - x);
                return isWait(span) ? (
                  <rect key={span.at + span.kind} class={`wait is-${span.kind}`} x={x} y="10" width={width} height="2">
                    <title>{`${span.kind} ${duration(length(span))}`}</title>
                  </rect>
                ) : (
                  <rect
                    key={span.at + span.kind}
                    class={`run is-${span.kind}`}
                    x={Math.min(x, 99.5)}
                    y="4"
                    width={width}
                    height="14"
                  >
                    <title>{`${span.kind} ${duration(length(span))}`}</title>
                  </rect>
                );
              })}
            </svg>
            <span class="timeline-length">
              {waits.length > 0 && <span class="faint">waited {duration(waited)}</span>}
              {run && (
                <b class={`is-${run.kind}`}>
                  {run.kind === "running" ? "running" : run.kind} {duration(length(run))}
                </b>
              )}
            </span>
          </div>
        );
      })}
      <Axis start={start} end={end} />
    </div>
  );
}

/** What a timeline begins and ends with (in milliseconds), and how long all of it is. */
export function Axis({ start, end }: { start: number; end: number }): JSX.Element {
  return (
    <div class="timeline-row axis" aria-hidden="true">
      <span />
      <span class="timeline-ends">
        <span>{clock(start, zone.value, now.value)}</span>
        <span>{duration((end - start) / 1000)} in all</span>
        <span>{clock(end, zone.value, now.value)}</span>
      </span>
      <span />
    </div>
  );
}
