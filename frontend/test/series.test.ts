import { describe, expect, it } from "vitest";
import { folded, minutes, occurring, stacked, times, total, whole } from "../src/series";
import type { Series } from "../src/types";

const none = { p50: [null, 1, 2], p95: [null, 2, 3], p99: [null, 3, 4] };
const series: Series = {
  start: "2026-11-21T20:00:00Z",
  step: 60,
  outcomes: { failed: [0, 6, 0], succeeded: [60, 120, 30], crashed: [0, 0, 0] },
  wait: none,
  run: none,
};

describe("series", () => {
  it("has its times", () =>
    expect(times(series)).toEqual([0, 60, 120].map((s) => Date.parse(series.start) / 1000 + s)));
  it("shows what occurs, in its fixed order", () => expect(occurring(series)).toEqual(["succeeded", "failed"]));
  it("stacks rates", () =>
    expect(stacked(series, ["succeeded", "failed"])).toEqual([
      [1, 2, 0.5],
      [1, 2.1, 0.5],
    ]));
  it("leaves out a step that is not over, and only that", () => {
    const end = Date.parse(series.start) + 180_000;
    expect(whole(series, end)).toBe(series);
    const cut = whole(series, end - 1);
    expect(cut.outcomes.succeeded).toEqual([60, 120]);
    expect([cut.wait.p99, times(cut).length]).toEqual([[null, 3], 2]);
  });
  it("counts minutes back from now", () => {
    expect(minutes(2, 1_000_400)).toEqual([880, 940, 1000]);
    expect(minutes(0, 1_000_400)).toEqual([1000]);
  });
  it("adds up lanes", () => expect([total({ loop: 40, thread: 10 }), total({})]).toEqual([50, 0]));
  it("folds without losing anything, the latest bar full", () => {
    expect(folded([1, 2, 3, 4, 5, 6, 7], 3)).toEqual([1, 9, 18]);
    expect(folded([1, 2], 3)).toEqual([1, 2]);
    expect(folded([], 3)).toEqual([]);
  });
});
