/** Everything the pages ask of the server, with its types. What carries the words (HTTP, or the demo's play) is a `Transport`. */
import { parseJson, printJson } from "./json";
import type {
  Affected,
  AuditPage,
  FaultRow,
  FaultsPage,
  JobDetail,
  JobEvent,
  JobsPage,
  LimitsPage,
  Overview,
  QueueDetail,
  QueueRow,
  ScheduleChange,
  ScheduleRow,
  System,
  TaskRow,
  Series,
  Tick,
  WorkerDetail,
  WorkerRow,
  Workflow,
} from "./types";

export interface StreamEars<T> {
  message: (what: T) => void;
  open: () => void;
  lost: (forGood: boolean) => void;
}

export interface Transport {
  get(path: string, signal?: AbortSignal): Promise<unknown>;
  post(path: string, body: string): Promise<unknown>;
  /** Each answers a function that closes it. */
  stream(topics: readonly string[], ears: StreamEars<Tick>): () => void;
  events(job: string, ears: StreamEars<JobEvent>): () => void;
}

/** An answer that is an error, in the words of RFC 9457. `status` 0: the server could not be reached. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail = "",
  ) {
    super(detail || title);
  }
}

let transport: Transport;
export const setTransport = (one: Transport): void => {
  transport = one;
};

type Params = Record<string, string | number | null | undefined>;

/** A read's name, which is also the topic under which the stream tells its changes: "overview?range=1h". */
export function readName(path: string, params: Params = {}): string {
  const given = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return query.size ? `${path}?${query}` : path;
}

const name = encodeURIComponent;

/** The reads: each answers its name, with the type of its value on it. */
export interface Read<T> {
  name: string;
  readonly value?: T;
}
const of = <T>(path: string, params?: Params): Read<T> => ({ name: readName(path, params) });

export const reads = {
  overview: (range: string) => of<Overview>("overview", { range }),
  jobs: (q: string, before = "", limit = 50) => of<JobsPage>("jobs", { q, before, limit }),
  job: (id: string, reveal = false) => of<JobDetail>(`jobs/${name(id)}`, { reveal: reveal ? 1 : null }),
  failures: (state: string, before = "") => of<FaultsPage>("failures", { state, before }),
  queues: (range: string) => of<{ queues: QueueRow[] }>("queues", { range }),
  queue: (queue: string, range: string) => of<QueueDetail>(`queues/${name(queue)}`, { range }),
  workers: () => of<{ workers: WorkerRow[] }>("workers"),
  worker: (id: string) => of<WorkerDetail>(`workers/${name(id)}`),
  tasks: (range: string) => of<{ tasks: TaskRow[] }>("tasks", { range }),
  task: (task: string, range: string) => of<{ task: TaskRow; series: Series }>(`tasks/${name(task)}`, { range }),
  schedules: () => of<{ schedules: ScheduleRow[] }>("schedules"),
  workflow: (id: string) => of<Workflow>(`workflows/${name(id)}`),
  limits: (after = "") => of<LimitsPage>("limits", { after }),
  system: () => of<System>("system"),
  audit: (before = "") => of<AuditPage>("audit", { before }),
};

export const get = <T>(read: Read<T>, signal?: AbortSignal): Promise<T> =>
  transport.get(read.name, signal) as Promise<T>;
export const openStream = (topics: readonly string[], ears: StreamEars<Tick>): (() => void) =>
  transport.stream(topics, ears);
export const openEvents = (job: string, ears: StreamEars<JobEvent>): (() => void) => transport.events(job, ears);

const post = <T>(path: string, body: unknown = {}): Promise<T> =>
  transport.post(path, printJson(body, 0)) as Promise<T>;

export type BulkAction = "retry" | "cancel" | "delete";
export type Target = { ids: string[] } | { q: string; until_id?: string };

export const act = {
  jobs: (action: BulkAction, target: Target, dry_run = false) =>
    post<Affected>("jobs/actions", { action, ...target, ...("q" in target ? { dry_run } : {}) }),
  again: (id: string, change: { arguments?: unknown; queue?: string; priority?: number; delay?: number }) =>
    post<{ id: string }>(`jobs/${name(id)}/again`, change),
  kill: (id: string) => post<unknown>(`jobs/${name(id)}/kill`),
  fault: (fingerprint: string, action: "resolve" | "snooze" | "open", until?: string) =>
    post<FaultRow>(`failures/${name(fingerprint)}`, { action, until }),
  queue: (queue: string, action: "pause" | "resume" | "purge") =>
    post<{ affected: number }>(`queues/${name(queue)}`, { action }),
  worker: (id: string, action: "quiet" | "work" | "stop" | "dump") => post<unknown>(`workers/${name(id)}`, { action }),
  schedule: (schedule: string, action: "pause" | "resume" | "edit" | "remove", change: ScheduleChange = {}) =>
    post<Affected>(`schedules/${name(schedule)}`, { action, ...change }),
  cancelWorkflow: (id: string) => post<Affected>(`workflows/${name(id)}`, { action: "cancel" }),
  runSchedule: (schedule: string) => post<{ id: string }>(`schedules/${name(schedule)}/run`),
  run: (task: string, given: unknown) => post<{ id: string }>(`tasks/${name(task)}/run`, { arguments: given }),
};

/** A thousand jobs are acted on in one call at most: call again as long as there are more. `told` hears how many it has been. */
export async function actInTurns(
  action: BulkAction,
  target: Target,
  told: (done: number) => void = () => undefined,
): Promise<number> {
  let done = 0;
  for (let turn = 0; turn < 1_000; turn++) {
    const answer = await act.jobs(action, target);
    done += answer.affected;
    told(done);
    if (!answer.more) break;
    const moved = "q" in target && Boolean(answer.until_id) && answer.until_id !== target.until_id;
    // Without progress it would go on for ever.
    if (!answer.affected && !moved) break;
    if (moved) target = { ...target, until_id: answer.until_id ?? undefined };
  }
  return done;
}

/** Over HTTP, to the API below <base>. */
export class Http implements Transport {
  private readonly root = new URL("api/v1/", document.baseURI).href;

  async get(path: string, signal?: AbortSignal): Promise<unknown> {
    return this.ask(path, { signal });
  }

  async post(path: string, body: string): Promise<unknown> {
    return this.ask(path, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  }

  private async ask(path: string, init: RequestInit): Promise<unknown> {
    let response: Response;
    try {
      response = await fetch(this.root + path, { credentials: "same-origin", ...init });
    } catch (error) {
      if ((error as Error).name === "AbortError") throw error;
      throw new Problem(0, "The server cannot be reached", "It may be restarting, or the network is down.");
    }
    const text = await response.text();
    let said: unknown = null;
    try {
      said = text ? parseJson(text) : null;
    } catch {
      /* a proxy's page, not our server's answer */
    }
    if (response.ok && (said !== null || !text)) return said;
    const { title, detail } = (said ?? {}) as { title?: string; detail?: unknown };
    throw new Problem(
      response.status,
      title ?? `${response.status} ${response.statusText}`,
      typeof detail === "string" ? detail : "",
    );
  }

  stream(topics: readonly string[], ears: StreamEars<Tick>): () => void {
    const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
    return this.listen(`stream?${query}`, ["tick"], ears, (_, data) => data as Tick);
  }

  events(job: string, ears: StreamEars<JobEvent>): () => void {
    const kinds = ["state", "progress", "log", "chunk", "end"];
    return this.listen(`jobs/${name(job)}/events`, kinds, ears, (event, data, id) => ({ event, data, id }) as JobEvent);
  }

  private listen<T>(
    path: string,
    kinds: string[],
    ears: StreamEars<T>,
    make: (event: string, data: unknown, id: string) => T,
  ): () => void {
    const source = new EventSource(this.root + path);
    source.onopen = () => ears.open();
    source.onerror = () => ears.lost(source.readyState === EventSource.CLOSED);
    for (const kind of kinds) {
      source.addEventListener(kind, (event) => {
        // After its end the stream is over; without this the browser would ask for it again and again.
        if (kind === "end") source.close();
        ears.message(make(kind, parseJson(event.data as string), event.lastEventId));
      });
    }
    return () => source.close();
  }
}
