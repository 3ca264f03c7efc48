/** The timeline of a job, attempt by attempt. */
import type { Span } from "./types";

const WAITS = new Set(["scheduled", "waiting", "ready", "snoozed"]);
export const isWait = (span: Span): boolean => WAITS.has(span.kind) && !span.worker;

interface Row {
  attempt: number;
  spans: Span[];
}

/** The spans by attempt; what came before the first belongs to it. */
export function rowsOf(spans: readonly Span[]): Row[] {
  const rows: Row[] = [];
  for (const span of spans) {
    if (span.kind === "enqueued") continue;
    const attempt = Math.max(1, span.attempt);
    const last = rows[rows.length - 1];
    if (last?.attempt === attempt) last.spans.push(span);
    else rows.push({ attempt, spans: [span] });
  }
  return rows;
}
