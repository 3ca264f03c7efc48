import { describe, expect, it } from "vitest";
import { done, draw, DRAWN, fold, SIZE, stateOf } from "../src/graph";
import type { Part, State, Step, Workflow } from "../src/types";
import { rowsOf } from "../src/waterfall";

const AT = Date.parse("2026-11-22T12:00:00Z");
const iso = (second: number): string => new Date(AT + second * 1000).toISOString();

const part = (id: string, task: string, state: State, more: Partial<Part> = {}): Part => ({
  id,
  task,
  queue: "q",
  state,
  to: [],
  letters: 0,
  awaited: 0,
  collects: false,
  created_at: iso(0),
  run_at: iso(0),
  started_at: null,
  finished_at: null,
  cancelling: false,
  error: null,
  ...more,
});
const whole = (parts: Part[], more: Partial<Workflow> = {}): Workflow => ({
  id: "end",
  job: null,
  parts,
  cut: false,
  exact: true,
  steps: [],
  ...more,
});
const times = (many: number, make: (n: number) => Part): Part[] => Array.from({ length: many }, (_, n) => make(n));

describe("folding a workflow", () => {
  it("makes one node of jobs of one task that tell the same", () => {
    const nodes = fold(
      whole([
        ...times(3, (n) => part(`fetch${n}`, "fetch", "succeeded", { to: [`resize${n}`] })),
        ...times(3, (n) => part(`resize${n}`, "resize", n ? "running" : "failed", { to: ["end"], awaited: 1 })),
        part("other", "label", "ready", { to: ["end"] }),
        part("end", "album", "waiting", { awaited: 4 }),
      ]),
    );
    expect(nodes.map((one) => [one.task, one.total, one.depth, stateOf(one), done(one)])).toEqual([
      ["album", 1, 0, "waiting", 0],
      ["resize", 3, 1, "failed", 1],
      ["label", 1, 1, "ready", 0],
      ["fetch", 3, 2, "succeeded", 3],
    ]);
    expect(nodes[3].to).toEqual([nodes[1].id]);
  });

  it("knows by the join how many there are of those that were not read", () => {
    const [, node] = fold(
      whole(
        [
          ...times(80, (n) => part(`a${n}`, "thumb", "ready", { to: ["end"] })),
          ...times(7, (n) => part(`b${n}`, "thumb", "running", { to: ["end"] })),
          ...times(3, (n) => part(`c${n}`, "thumb", "failed", { to: ["end"] })),
          part("end", "album", "waiting", { awaited: 10_000, letters: 4_203, collects: true }),
        ],
        { cut: true },
      ),
    );
    expect([node.total, node.exact]).toEqual([10_000, true]);
    expect(node.counts).toEqual({ ready: 5_790, running: 7, failed: 3, succeeded: 4_200 });
  });

  it("says that it does not know what it cannot know", () => {
    const parts = [
      ...times(5, (n) => part(`a${n}`, "one", "ready", { to: ["end"] })),
      ...times(5, (n) => part(`b${n}`, "two", "ready", { to: ["end"] })),
      part("end", "album", "waiting", { awaited: 900 }),
    ];
    expect(fold(whole(parts, { cut: true })).map((one) => [one.total, one.exact])).toEqual([
      [1, true],
      [5, false],
      [5, false],
    ]);
    const chains = [
      ...times(4, (n) => part(`f${n}`, "fetch", "ready", { to: [`r${n}`] })),
      ...times(4, (n) => part(`r${n}`, "resize", "waiting", { to: ["end"], awaited: 1 })),
      part("end", "album", "waiting", { awaited: 500 }),
    ];
    expect(fold(whole(chains, { cut: true })).map((one) => [one.task, one.total, one.exact])).toEqual([
      ["album", 1, true],
      ["resize", 500, true],
      ["fetch", 500, false],
    ]);
  });

  it("does not take what a flow waits for as the number of its jobs", () => {
    const step = { number: 1, name: "run a", kind: "run" } as Step;
    const [, child] = fold(
      whole([part("a", "a", "running", { to: ["end"] }), part("end", "flow", "waiting", { awaited: 3 })], {
        steps: [step],
      }),
    );
    expect(child.total).toBe(1);
  });

  it("is not led in a circle, nor by those who tell nobody that is there", () => {
    const nodes = fold(
      whole([
        part("a", "a", "ready", { to: ["b"] }),
        part("b", "b", "ready", { to: ["a", "gone"] }),
        part("self", "s", "ready", { to: ["self"] }),
      ]),
    );
    expect(nodes.reduce((sum, one) => sum + one.total, 0)).toBe(3);
    expect(draw(nodes).boxes).toHaveLength(nodes.length);
    expect(draw(fold(whole([]))).boxes).toEqual([]);
  });
});

describe("drawing a graph", () => {
  it("puts what runs first at the left, and nothing upon another", () => {
    const { boxes, edges, width, height, left } = draw(
      fold(
        whole([
          ...times(5, (n) => part(`t${n}`, `task${n}`, "ready", { to: ["end"] })),
          part("first", "first", "ready", { to: ["t3"] }),
          part("end", "end", "waiting", { awaited: 5 }),
        ]),
      ),
    );
    const at = (task: string): { x: number; y: number } =>
      boxes.find((one) => one.node.task === task) ?? { x: -1, y: -1 };
    expect([at("first").x, at("end").x + SIZE.width]).toEqual([0, width]);
    const ys = [0, 1, 2, 3, 4].map((n) => at(`task${n}`).y).sort((a, b) => a - b);
    expect(ys.every((y, n) => !n || y - ys[n - 1] >= SIZE.height + SIZE.down)).toBe(true);
    expect(ys[4] + SIZE.height).toBe(height);
    expect([edges.length, left]).toEqual([6, 0]);
  });

  it("leaves out what no eye could follow, the farthest first", () => {
    const chain = times(200, (n) =>
      part(n ? `c${n}` : "end", "link", "waiting", { to: n === 1 ? ["end"] : n ? [`c${n - 1}`] : [] }),
    );
    const drawing = draw(fold(whole(chain)));
    expect([drawing.boxes.length, drawing.left]).toEqual([DRAWN, 200 - DRAWN]);
    expect(drawing.boxes.some((one) => one.node.id === "end")).toBe(true);
  });
});

describe("the waterfall", () => {
  const now = AT + 100_000;
  const bars = (one: Part): [string, number, number][] =>
    rowsOf(fold(whole([one])), [], now)[0].bars.map((bar) => [
      bar.kind,
      (bar.from - AT) / 1000,
      (bar.until - AT) / 1000,
    ]);

  it("tells waits from runs", () => {
    expect(bars(part("a", "a", "waiting"))).toEqual([["waiting", 0, 100]]);
    expect(bars(part("a", "a", "ready", { run_at: iso(20) }))).toEqual([
      ["waiting", 0, 20],
      ["ready", 20, 100],
    ]);
    expect(bars(part("a", "a", "running", { run_at: iso(10), started_at: iso(30) }))).toEqual([
      ["waiting", 0, 10],
      ["ready", 10, 30],
      ["running", 30, 100],
    ]);
    expect(bars(part("a", "a", "succeeded", { started_at: iso(5), finished_at: iso(9) }))).toEqual([
      ["ready", 0, 5],
      ["succeeded", 5, 9],
    ]);
    expect(bars(part("a", "a", "cancelled", { finished_at: iso(9), run_at: iso(50) }))).toEqual([["cancelled", 0, 9]]);
  });

  it("puts many jobs of a kind into one row, and steps among the jobs", () => {
    const parts = [
      ...times(30, (n) =>
        part(`t${n}`, "thumb", "succeeded", { to: ["end"], started_at: iso(n), finished_at: iso(n + 2) }),
      ),
      part("end", "flow", "waiting", { started_at: iso(1) }),
    ];
    const step = (number: number, more: Partial<Step>): Step => ({
      number,
      name: "event approved",
      kind: "event",
      at: iso(40),
      until: null,
      ended: null,
      outcome: "waiting",
      job: null,
      event: null,
      ...more,
    });
    const rows = rowsOf(fold(whole(parts)), [step(1, { kind: "run", job: "t1" }), step(2, {})], now);
    expect(rows.map((row) => [row.name, row.note])).toEqual([
      ["thumb", "× 30"],
      ["event approved", "step"],
      ["flow", ""],
    ]);
    expect(rows[0].bars.map((bar) => (bar.until - bar.from) / 1000)).toEqual([0, 31]);
  });
});
