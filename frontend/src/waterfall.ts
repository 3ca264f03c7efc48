/** When each part of a workflow waited and ran: rows in the order in which they began to run. Pure. */
import { stateOf, type Node } from "./graph";
import { finished, STATES, type Part, type State, type Step } from "./types";

export interface Bar {
  kind: State;
  from: number;
  until: number;
  wait: boolean;
}
export interface Row {
  id: string;
  name: string;
  job: string | null;
  /** What it is, if it is no job of one task. */
  note: string;
  state: State;
  bars: Bar[];
}

/** Jobs of one node that have a row each; more of them have one together. */
const APART = 6;
/** Rows that are shown. */
export const ROWS = 40;

const time = (at: string): number => Date.parse(at);
const STATE_OF = {
  waiting: "waiting",
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "cancelled",
  late: "cancelled",
} as const;

export function rowsOf(nodes: readonly Node[], steps: readonly Step[], now: number): Row[] {
  const known = new Set(nodes.flatMap((node) => node.parts.map((part) => part.id)));
  const rows = [
    ...nodes.flatMap((node) =>
      node.total > APART ? [together(node, now)] : node.parts.map((part) => alone(part, now)),
    ),
    ...steps.filter((step) => !step.job || !known.has(step.job)).map((step) => ofStep(step, now)),
  ];
  const start = (row: Row): number => row.bars.find((bar) => !bar.wait || row.note === "step")?.from ?? now;
  return rows.sort((a, b) => start(a) - start(b));
}

/** From when it was made to when it was due, from there to its start, from there to its end. */
function alone(part: Part, now: number): Row {
  const made = time(part.created_at);
  const ended = part.finished_at ? time(part.finished_at) : now;
  const over = finished(part.state);
  const started = part.started_at && (over || part.state === "running") ? time(part.started_at) : null;
  const due = Math.min(Math.max(made, time(part.run_at)), started ?? ended);
  const held = part.state === "ready" || started !== null ? "waiting" : part.state;
  const bars: Bar[] = [{ kind: over && started === null ? "cancelled" : held, from: made, until: due, wait: true }];
  if (due < (started ?? ended) && (started !== null || part.state === "ready"))
    bars.push({ kind: "ready", from: due, until: started ?? ended, wait: true });
  else if (started === null) bars[0].until = ended;
  if (started !== null) bars.push({ kind: part.state, from: started, until: ended, wait: false });
  const kept = bars.filter((bar) => bar.until > bar.from || !bar.wait);
  return { id: part.id, name: part.task, job: part.id, note: "", state: part.state, bars: kept.length ? kept : bars };
}

function together(node: Node, now: number): Row {
  const made = Math.min(...node.parts.map((part) => time(part.created_at)));
  const started = node.parts.flatMap((part) => (part.started_at ? [time(part.started_at)] : []));
  const busy = node.parts.some((part) => !finished(part.state) && part.state !== "waiting");
  const ends = node.parts.flatMap((part) => (part.finished_at ? [time(part.finished_at)] : []));
  const until = busy || !ends.length ? now : Math.max(...ends);
  const first = started.length ? Math.min(...started) : until;
  const state = stateOf(node);
  const most = STATES.reduce(
    (one, other) => ((node.counts[other] ?? 0) > (node.counts[one] ?? 0) ? other : one),
    state,
  );
  const bars: Bar[] = [{ kind: started.length ? "ready" : state, from: made, until: first, wait: true }];
  if (started.length) bars.push({ kind: busy ? "running" : most, from: first, until, wait: false });
  return { id: node.id, name: node.task, job: null, note: `× ${node.total.toLocaleString("en")}`, state, bars };
}

function ofStep(step: Step, now: number): Row {
  const state = STATE_OF[step.outcome];
  const until = step.ended ? time(step.ended) : now;
  const wait = step.kind !== "call" && step.kind !== "run";
  const bars = [{ kind: state, from: time(step.at), until, wait }];
  return { id: `step ${step.number}`, name: step.name, job: step.job, note: "step", state, bars };
}
