/** The three charts of a series: what ended, how long it waited, how long it ran. */
import { useMemo } from "preact/hooks";
import type { JSX } from "preact";
import { compact, duration, rate } from "../format";
import { go } from "../router";
import { occurring, stacked, times } from "../series";
import type { Series } from "../types";
import { Chart, type Mark } from "./Chart";

const label = (p: string): string => p.replace("p50", "median");

export function Throughput({ series, marks, filter = "", height }: { series: Series; marks?: Mark[]; filter?: string; height?: number }): JSX.Element {
  const outcomes = useMemo(() => { const found = occurring(series); return found.length ? found : (["succeeded"] as const); }, [series]);
  const columns = useMemo(() => stacked(series, outcomes), [series]);
  const at = useMemo(() => times(series), [series]);
  const span = (from: number, until: number): void => {
    const time = (seconds: number): string => `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
    go("/jobs", { q: `since:${time(from)} until:${time(until)} ${filter}`.trim() });
  };
  const lines = outcomes.map((outcome) => ({
    label: outcome, tone: `outcome-${outcome}`, fill: true,
    value: (index: number) => rate((series.outcomes[outcome]?.[index] ?? 0) / series.step),
  }));
  return <Chart title="Ended, by outcome" times={at} columns={columns} lines={lines} axis={(n) => `${n < 10 ? Number(n.toPrecision(2)) : compact(n)} /s`}
    marks={marks} step={series.step} onSpan={span} height={height} />;
}

export function Times({ series, what, title, height }: { series: Series; what: "wait" | "run"; title: string; height?: number }): JSX.Element {
  const parts = ["p50", "p95", "p99"] as const;
  const at = useMemo(() => times(series), [series]);
  const columns = useMemo(() => parts.map((part) => series[what][part]), [series]);
  const lines = parts.map((part, index) => ({
    label: label(part), tone: part, dash: [undefined, [6, 3], [2, 3]][index],
    value: (place: number) => duration(series[what][part][place]),
  }));
  return <Chart title={title} times={at} columns={columns} lines={lines} axis={duration} step={series.step} height={height} />;
}
