/** Drawn by hand, 16 units wide. Each state has its own shape, so that no colour is needed to tell them apart. */
import type { JSX } from "preact";
import type { State } from "../types";

const PATHS = {
  overview: "M2 13.5h12M4 11V7.5M7 11V3.5M10 11V6M13 11V8.5",
  jobs: "M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01",
  failures: "M8 2.2 14.4 13.5H1.6ZM8 6.5v3M8 11.6v.01",
  queues: "M2.5 4.2 8 1.8l5.5 2.4L8 6.6ZM2.5 8 8 10.4 13.5 8M2.5 11.6 8 14l5.5-2.4",
  workers: "M2.5 2.5h11v4.3h-11ZM2.5 9.2h11v4.3h-11ZM5 4.65h.01M5 11.35h.01M8.5 4.65H11M8.5 11.35H11",
  schedules: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M8 4.8V8l2.3 1.6",
  workflows: "M2 6h3.6v4H2ZM10.4 1.8H14v4h-3.6ZM10.4 10.2H14v4h-3.6ZM5.6 8h2.4M8 3.8v8.4M8 3.8h2.4M8 12.2h2.4",
  limits: "M2.6 12.5a6.2 6.2 0 1 1 10.8 0M8 9.4l2.6-3.6M8 9.4v.01",
  tasks: "M5.5 3 2 8l3.5 5M10.5 3 14 8l-3.5 5",
  system:
    "M8 5.7a2.3 2.3 0 1 0 0 4.6 2.3 2.3 0 1 0 0-4.6M8 1.8v1.7M8 12.5v1.7M1.8 8h1.7M12.5 8h1.7M3.6 3.6l1.2 1.2M11.2 11.2l1.2 1.2M12.4 3.6l-1.2 1.2M4.8 11.2l-1.2 1.2",
  search: "M7 2.3a4.7 4.7 0 1 0 0 9.4A4.7 4.7 0 1 0 7 2.3M10.5 10.5 14 14",
  more: "M3 8h.01M8 8h.01M13 8h.01",
  close: "m4 4 8 8M12 4l-8 8",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3.2v9.6L12.5 8Z",
  step: "M3.5 3.2v9.6L10 8ZM12.8 3.4v9.2",
  retry: "M13.2 8A5.2 5.2 0 1 1 11.5 4.1M13.4 1.8v3h-3",
  trash: "M2.5 4.5h11M6 4.5V2.8h4v1.7M4 4.5l.6 8.7h6.8l.6-8.7M6.7 7v3.8M9.3 7v3.8",
  stop: "M4.2 4.2h7.6v7.6H4.2Z",
  copy: "M5.5 5.5h8v8h-8ZM10.5 5.5v-3h-8v8h3",
  edit: "M2.5 13.5v-2.8l8-8 2.8 2.8-8 8ZM8.8 4.4l2.8 2.8",
  check: "m3 8.6 3.3 3.2L13 4.6",
  down: "m4 6 4 4 4-4",
  right: "m6 4 4 4-4 4",
  left: "m10 4-4 4 4 4",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 1 0 0-5.6M8 1.3v1.2M8 13.5v1.2M1.3 8h1.2M13.5 8h1.2M3.3 3.3l.8.8M11.9 11.9l.8.8M12.7 3.3l-.8.8M4.1 11.9l-.8.8",
  moon: "M13.5 9.6A5.9 5.9 0 0 1 6.4 2.5a5.9 5.9 0 1 0 7.1 7.1Z",
  screen: "M2 3h12v8H2ZM6 13.7h4",
  globe: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M2 8h12M8 1.8c4 3.6 4 8.8 0 12.4M8 1.8c-4 3.6-4 8.8 0 12.4",
  help: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M6.3 6.2a1.8 1.8 0 1 1 2.6 1.6c-.6.3-.9.7-.9 1.3M8 11.3v.01",
  eye: "M1.5 8C4.5 3 11.5 3 14.5 8 11.5 13 4.5 13 1.5 8ZM8 6.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 1 0 0-3.6",
  kill: "M9 1.5 3.5 9H8l-1 5.5L12.5 7H8Z",
  clock: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M8 4.8V8h2.6",
} as const;
export type IconName = keyof typeof PATHS;

export function Icon({ name, label }: { name: IconName; label?: string }): JSX.Element {
  return (
    <svg
      class="icon"
      viewBox="0 0 16 16"
      role={label ? "img" : undefined}
      aria-label={label}
      aria-hidden={label ? undefined : "true"}
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

const SHAPES: Record<State, JSX.Element> = {
  scheduled: <path d="M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 1 0 0-11M8 5v3.2l2 1.3" />,
  waiting: (
    <path d="M4 2.5h8M4 13.5h8M4.8 2.5c0 3 3.2 3.8 3.2 5.5s-3.2 2.5-3.2 5.5M11.2 2.5c0 3-3.2 3.8-3.2 5.5s3.2 2.5 3.2 5.5" />
  ),
  ready: <circle cx="8" cy="8" r="5.3" />,
  running: (
    <>
      <circle cx="8" cy="8" r="5.3" opacity=".35" />
      <path class="turning" d="M8 2.7A5.3 5.3 0 0 1 13.3 8" />
    </>
  ),
  parked: <path d="M3.2 3.2h9.6v9.6H3.2ZM6.4 6v4M9.6 6v4" />,
  succeeded: (
    <>
      <circle class="filled" cx="8" cy="8" r="6.3" />
      <path class="cut" d="m5.2 8.3 2 2 3.7-4.2" />
    </>
  ),
  failed: (
    <>
      <path class="filled" d="M5.2 1.7h5.6l3.5 3.5v5.6l-3.5 3.5H5.2l-3.5-3.5V5.2Z" />
      <path class="cut" d="m5.7 5.7 4.6 4.6M10.3 5.7l-4.6 4.6" />
    </>
  ),
  cancelled: <path d="M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 1 0 0-11M4.2 11.8l7.6-7.6" />,
};

export function StateIcon({ state }: { state: State }): JSX.Element {
  return (
    <svg class={`icon state is-${state}`} viewBox="0 0 16 16" aria-hidden="true">
      {SHAPES[state]}
    </svg>
  );
}

export function StateBadge({ state, note }: { state: State; note?: string }): JSX.Element {
  return (
    <span class={`badge is-${state}`}>
      <StateIcon state={state} />
      {note ?? state}
    </span>
  );
}

export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
      <rect width="24" height="24" rx="6" />
      <circle cx="12" cy="12" r="3.4" />
      <path d="M12 4v4.6M12 15.4V20M4 12h4.6M15.4 12H20" />
    </svg>
  );
}
