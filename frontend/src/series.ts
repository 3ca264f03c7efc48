/** Charts from series: pure, so that they are tested without a canvas. */
import { OUTCOMES, type Outcome, type Percentiles, type Series } from "./types";

export type Column = (number | null)[];

/** The times of a series in Unix seconds: the beginning of each step. */
export function times(series: Series): number[] {
  const start = Date.parse(series.start) / 1000;
  return Array.from({ length: lengthOf(series) }, (_, index) => start + index * series.step);
}

const lengthOf = (series: Series): number =>
  Math.max(
    series.wait.p50.length,
    series.run.p50.length,
    ...Object.values(series.outcomes).map((one) => one.length),
    0,
  );

/** The series without a last step that is not over: half a minute's jobs would look like a collapse. */
export function whole(series: Series, now: number): Series {
  const size = lengthOf(series);
  if (!size || Date.parse(series.start) + size * series.step * 1000 <= now) return series;
  const cut = <T>(values: T[]): T[] => values.slice(0, size - 1);
  const parts = (of: Percentiles): Percentiles => ({ p50: cut(of.p50), p95: cut(of.p95), p99: cut(of.p99) });
  const outcomes = Object.fromEntries(Object.entries(series.outcomes).map(([name, values]) => [name, cut(values)]));
  return { ...series, outcomes, wait: parts(series.wait), run: parts(series.run) };
}

/** The outcomes that occur, in their fixed order, so that a colour never changes its place. */
export const occurring = (series: Series): Outcome[] =>
  OUTCOMES.filter((one) => series.outcomes[one]?.some((n) => n > 0));

/** Jobs per second by outcome, each on top of those before it. */
export function stacked(series: Series, outcomes: readonly Outcome[]): Column[] {
  const below = new Array<number>(lengthOf(series)).fill(0);
  return outcomes.map((outcome) =>
    below.map((sum, index) => (below[index] = sum + (series.outcomes[outcome]?.[index] ?? 0) / series.step)),
  );
}

/** The times of so many minutes up to now, in Unix seconds: the beginning of each, and the end. */
export const minutes = (count: number, now: number): number[] =>
  Array.from({ length: count + 1 }, (_, index) => Math.round(now / 1000) - (count - index) * 60);

export const total = (of: Record<string, number>): number => Object.values(of).reduce((sum, one) => sum + one, 0);

/** Neighbouring numbers added up until there are at most `most`: what a sparkline has room for. */
export function folded(values: readonly number[], most: number): number[] {
  const size = Math.ceil(values.length / most);
  if (size <= 1) return [...values];
  // From the end on, so that the latest bar is a full one and does not jump with each step.
  const found: number[] = [];
  for (let end = values.length; end > 0; end -= size) {
    found.unshift(values.slice(Math.max(0, end - size), end).reduce((sum, one) => sum + one, 0));
  }
  return found;
}
