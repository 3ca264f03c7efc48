/** The shapes of docs/design/api.md, as they come over the wire. Times are ISO 8601 in UTC, lengths of time seconds. */

export const STATES = [
  "scheduled",
  "waiting",
  "ready",
  "running",
  "parked",
  "succeeded",
  "failed",
  "cancelled",
] as const;
export type State = (typeof STATES)[number];
export const OUTCOMES = [
  "succeeded",
  "retried",
  "failed",
  "crashed",
  "cancelled",
  "snoozed",
  "released",
  "parked",
] as const;
export type Outcome = (typeof OUTCOMES)[number];
export type Role = "viewer" | "operator" | "admin";

export interface Boot {
  prefix: string;
  app: string;
  role: Role;
  name: string;
  environment: string;
  version: string;
}
export type Percentiles = Record<"p50" | "p95" | "p99", (number | null)[]>;
export interface Series {
  start: string;
  step: number;
  outcomes: Partial<Record<Outcome, number[]>>;
  wait: Percentiles;
  run: Percentiles;
}
export interface QueueRow {
  name: string;
  paused: boolean;
  counts: Partial<Record<State, number>>;
  oldest: number | null;
  in_rate: number;
  out_rate: number;
  drain: number | null;
  failed_share: number;
  spark: number[];
  slots: number;
  busy: number;
}
export interface Attention {
  kind: "failure" | "stalled" | "workers" | "backlog" | "parked" | "durability";
  level: "warn" | "bad";
  title: string;
  detail: string;
  to: string;
}
export interface Overview {
  now: string;
  totals: Partial<Record<State, number>>;
  done_rate: number;
  failed_share: number;
  oldest: number | null;
  slots: { busy: number; total: number };
  workers: number;
  series: Series;
  queues: QueueRow[];
  attention: Attention[];
  deploys: { at: string; version: string }[];
}
export interface Progress {
  current: number;
  total: number | null;
  message: string;
  share: number | null;
}
export interface JobRow {
  id: string;
  task: string;
  queue: string;
  state: State;
  priority: number;
  attempt: number;
  crashes: number;
  created_at: string;
  run_at: string;
  started_at: string | null;
  finished_at: string | null;
  worker: string | null;
  key: string | null;
  cancelling: boolean;
  reason: string | null;
  error: { kind: string; type: string; message: string } | null;
  progress: Progress | null;
  root: string | null;
  letters: number;
  awaited: number;
}
export interface Payload {
  hidden: boolean;
  size: number;
  value?: unknown;
  cut?: boolean;
}
export interface Span {
  at: string;
  until: string | null;
  kind: "enqueued" | "scheduled" | "waiting" | "ready" | "running" | "suspended" | Outcome;
  attempt: number;
  worker: string | null;
  error: { type: string; message: string; traceback: string } | null;
}
export interface JobDetail extends JobRow {
  lane: string;
  expires_at: string | null;
  timeout: number | null;
  meta: Record<string, string>;
  version: string;
  holder: string | null;
  arguments: Payload;
  result: Payload | null;
  traceback: string;
  evidence: Record<string, string | number>;
  fingerprint: string | null;
  timeline: Span[];
  why: string[];
  code: { python: string; cli: string; curl: string };
}
export interface JobsPage {
  jobs: JobRow[];
  next: string | null;
  searched_to: string | null;
  counts: Partial<Record<State, number>>;
}
export type FaultState = "open" | "resolved" | "snoozed";
export interface FaultRow {
  fingerprint: string;
  task: string;
  type: string;
  message: string;
  where: string;
  count: number;
  ended: number;
  first_at: string;
  last_at: string;
  sample: string;
  versions: string[];
  state: FaultState;
  until: string | null;
  spark: number[];
}
export interface FaultsPage {
  groups: FaultRow[];
  next: string | null;
}
export interface WorkerRow {
  id: string;
  host: string;
  pid: number;
  version: string;
  code: string;
  state: string;
  queues: string[];
  slots: Record<string, number>;
  busy: Record<string, number>;
  running: number;
  started_at: string;
  until: string;
  rss: number | null;
  past: { busy: number[]; mib: number[] };
  jobs: { id: string; task: string; queue: string; started_at: string }[];
}
export interface WorkerDetail extends WorkerRow {
  stacks: string;
}
export interface QueueDetail {
  queue: QueueRow;
  series: Series;
  tasks: { name: string; count: number; failed_share: number; p95: number | null }[];
  workers: WorkerRow[];
}
export interface TaskRow {
  name: string;
  queue: string;
  lane: string;
  timeout: number | null;
  attempts: number;
  doc: string;
  source: string;
  schema: Schema;
  count: number;
  failed_share: number;
  p50: number | null;
  p95: number | null;
  spark: number[];
}
export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  format?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  pattern?: string;
}
export type When = { kind: "cron"; line: string; tz: string } | { kind: "every"; seconds: number };
export const ON_MISSED = ["skip", "once", "all"] as const;
export const OVERLAP = ["allow", "skip", "queue", "cancel_other"] as const;
export interface ScheduleRow {
  name: string;
  task: string;
  origin: "code" | "run time";
  edited: string[];
  said: string;
  when: When;
  arguments: Payload;
  options: Record<string, unknown>;
  on_missed: (typeof ON_MISSED)[number];
  window: number;
  overlap: (typeof OVERLAP)[number];
  jitter: number;
  paused: boolean;
  next: string[];
  day: string[] | null;
  ticks: { at: string; id: string; outcome: State | "skipped" | "gone" }[];
}
export type ScheduleChange = Partial<Pick<ScheduleRow, "when" | "on_missed" | "overlap">> & {
  args?: unknown;
  window?: string;
  jitter?: string;
};
export interface Part {
  id: string;
  task: string;
  queue: string;
  state: State;
  to: string[];
  letters: number;
  awaited: number;
  collects: boolean;
  created_at: string;
  run_at: string;
  started_at: string | null;
  finished_at: string | null;
  cancelling: boolean;
  error: { kind: string; type: string; message: string } | null;
}
export interface Step {
  number: number;
  name: string;
  kind: "run" | "event" | "sleep" | "call";
  at: string;
  until: string | null;
  ended: string | null;
  outcome: "waiting" | "succeeded" | "failed" | "cancelled" | "late";
  job: string | null;
  event: string | null;
}
export interface Workflow {
  id: string;
  job: JobRow | null;
  parts: Part[];
  cut: boolean;
  exact: boolean;
  steps: Step[];
}
export interface Stander {
  id: string;
  task: string;
  units: number;
  since: string;
}
export interface LimitRow {
  limit: string;
  key: string;
  running: number | null;
  rate: number | null;
  burst: number;
  held: number;
  reserved: number;
  waiting: number;
  level: number | null;
  closed_until: string | null;
  turn: string | null;
  ordered: boolean;
  opens: string | null;
  inside: Stander[];
  line: Stander[];
}
export interface LimitsPage {
  limits: LimitRow[];
  next: string | null;
}
export interface System {
  store: {
    kind: string;
    place: string;
    version: string;
    survives: string[];
    remarks: string[];
    details: Record<string, unknown>;
  };
  versions: { version: string; code: string; workers: number }[];
  settings: Record<string, unknown>;
  retention: { step: number; kept: number }[];
}
export interface AuditEntry {
  id: string;
  at: string;
  who: string;
  role: string;
  action: string;
  target: string;
  detail: string;
}
export interface AuditPage {
  entries: AuditEntry[];
  next: string | null;
}
export interface Affected {
  affected: number;
  skipped: number;
  more: boolean;
  until_id?: string | null;
}
export interface LogLine {
  at: string;
  level: string;
  message: string;
  attempt: number;
}
export type JobEvent =
  | { event: "state" | "end"; data: Partial<JobRow>; id: string }
  | { event: "progress"; data: Progress; id: string }
  | { event: "log"; data: LogLine; id: string }
  | { event: "chunk"; data: unknown; id: string };
/** What the one stream says, at most once a second: the new value of each read that changed, by its topic. */
export interface Tick {
  now?: string;
  open_failures?: number;
  topics: Record<string, unknown>;
}

export const LIVE_STATES: readonly State[] = ["scheduled", "waiting", "ready", "running", "parked"];
export const finished = (state: State): boolean => !LIVE_STATES.includes(state);
