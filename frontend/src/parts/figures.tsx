/** Small pictures of numbers: bars, meters, sparklines. Plain SVG. */
import type { JSX } from "preact";
import { share } from "../format";
import { folded } from "../series";
import type { Progress, State } from "../types";

/** Bars of what happened lately, the latest on the right. */
export function Spark({
  values,
  label,
  tone = "",
  width = 96,
  height = 20,
  most = 24,
}: {
  values: readonly number[];
  label: string;
  tone?: string;
  width?: number;
  height?: number;
  most?: number;
}): JSX.Element {
  const bars = folded(values, most);
  const top = Math.max(...bars, 1e-9);
  const step = width / Math.max(bars.length, 1);
  const path = bars
    .map((value, index) => {
      const tall = value > 0 ? Math.max(1.5, (value / top) * height) : 0.75;
      return `M${(index * step + step / 2).toFixed(1)} ${height}v${(-tall).toFixed(1)}`;
    })
    .join("");
  return (
    <svg
      class={`spark ${tone}`}
      width={width}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-label={label}
    >
      <path d={path} stroke-width={Math.max(1, step - 1.2)} />
    </svg>
  );
}

const MINUTES = 60;

/** An hour, minute by minute, that ends now on the right, as high as `top` at most: an area, or a line where it is not `filled`. */
export function Hour({
  values,
  top,
  label,
  width,
  filled,
}: {
  values: readonly number[];
  top: number;
  label: string;
  width: number;
  filled?: boolean;
}): JSX.Element {
  const height = 22;
  const x = (minute: number): string => (width * (1 - (values.length - minute) / MINUTES)).toFixed(1);
  const y = (value: number): string => (height * (1 - Math.min(value / Math.max(top, 1e-9), 1))).toFixed(1);
  const steps = values.map((value, minute) => `V${y(value)}H${x(minute + 1)}`).join("");
  const path = filled ? `M${x(0)} ${height}${steps}V${height}Z` : `M${x(0)} ${y(values[0])}${steps}`;
  return (
    <svg class={filled ? "hour filled" : "hour"} width={width} height={height} role="img" aria-label={label}>
      <title>{label}</title>
      <rect width={width} height={height} />
      {steps && <path d={path} />}
    </svg>
  );
}

export function Meter({ part, whole, label }: { part: number; whole: number; label: string }): JSX.Element {
  const full = whole > 0 ? Math.min(1, part / whole) : 0;
  return (
    <svg
      class={`meter ${full >= 1 ? "full" : ""}`}
      viewBox="0 0 100 6"
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <rect class="track" width="100" height="6" />
      <rect class="fill" width={full * 100} height="6" />
    </svg>
  );
}

/** One box for each slot while they can be counted by eye, a bar beyond. */
export function Slots({ busy, total, name }: { busy: number; total: number; name: string }): JSX.Element {
  const label = `${name}: ${busy} of ${total} slots busy`;
  if (total > 24) return <Meter part={busy} whole={total} label={label} />;
  return (
    <svg
      class="slots"
      width={total * 10}
      height="12"
      viewBox={`0 0 ${Math.max(total * 10, 1)} 12`}
      role="img"
      aria-label={label}
    >
      {Array.from({ length: total }, (_, index) => (
        <rect
          key={index}
          class={index < busy ? "busy" : ""}
          x={index * 10 + 0.5}
          y="1.5"
          width="7"
          height="9"
          rx="1.5"
        />
      ))}
    </svg>
  );
}

export function ProgressBar({ progress, compact }: { progress: Progress; compact?: boolean }): JSX.Element {
  const known = progress.share !== null;
  const words = known ? share(Math.min(progress.share ?? 0, 1)) : `${progress.current}`;
  return (
    <span class={compact ? "progress compact" : "progress"}>
      <progress
        max={1}
        value={known ? Math.min(progress.share ?? 0, 1) : undefined}
        aria-label={progress.message || "progress"}
      />
      <span class="number">{words}</span>
      {!compact && progress.message && <span class="faint">{progress.message}</span>}
    </span>
  );
}

/** Jobs by state as one bar, widths by their roots, so that a few failures are seen beside many successes. */
export function StateBar({
  counts,
  order,
}: {
  counts: Partial<Record<State, number>>;
  order: readonly State[];
}): JSX.Element {
  const parts = order.map((state) => [state, Math.sqrt(counts[state] ?? 0)] as const).filter(([, size]) => size > 0);
  const whole = parts.reduce((sum, [, size]) => sum + size, 0);
  let at = 0;
  return (
    <svg class="statebar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
      {parts.map(([state, size]) => {
        const x = at;
        const width = (size / whole) * 100;
        at += width;
        return <rect key={state} class={`is-${state}`} x={x} width={Math.max(0.3, width - 0.4)} height="6" />;
      })}
    </svg>
  );
}
