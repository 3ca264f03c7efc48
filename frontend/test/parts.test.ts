import { describe, expect, it } from "vitest";
import { rowsOf } from "../src/attempts";
import { argumentsOf, fieldsOf, firstTexts } from "../src/parts/SchemaForm";
import { match } from "../src/router";
import { score } from "../src/score";
import type { Schema, Span } from "../src/types";

const schema: Schema = {
  type: "object",
  properties: {
    video: { type: "string" },
    size: { anyOf: [{ type: "integer" }, { type: "null" }], default: null },
    preset: { $ref: "#/$defs/Preset" },
    tags: { type: "array", items: { type: "string" }, default: ["a"] },
    fast: { type: "boolean" },
  },
  required: ["video", "preset"],
  $defs: { Preset: { type: "string", enum: ["720p", "4k"] } },
};

describe("a form from a schema", () => {
  it("sees through references and optional types", () => {
    expect(fieldsOf(schema).map(([name, one, required]) => [name, one.type, required])).toEqual([
      ["video", "string", true],
      ["size", "integer", false],
      ["preset", "string", true],
      ["tags", "array", false],
      ["fast", "boolean", false],
    ]);
  });
  it("begins with the defaults", () =>
    expect(firstTexts(schema)).toEqual({ video: "", size: "", preset: "", tags: '["a"]', fast: "" }));
  it("turns texts into arguments; what is left empty keeps its default", () => {
    const { value, wrong } = argumentsOf(schema, {
      video: "7",
      size: "9007199254740993",
      preset: "4k",
      tags: '["x"]',
      fast: "true",
    });
    expect(wrong).toEqual({});
    expect(value).toEqual({ video: "7", size: 9007199254740993n, preset: "4k", tags: ["x"], fast: true });
    expect(argumentsOf(schema, { preset: "4k" }).value).toEqual({ video: "", preset: "4k" });
  });
  it("says what is wrong, by field", () => {
    expect(argumentsOf(schema, { video: "x", size: "1.5", tags: "[1," }).wrong).toEqual({
      size: "a whole number",
      preset: "needed",
      tags: "not JSON",
    });
    expect(argumentsOf(schema, { video: "x", preset: "4k", size: "many" }).wrong).toEqual({ size: "a number" });
  });
});

describe("the timeline", () => {
  const span = (kind: Span["kind"], attempt: number): Span => ({
    at: "",
    until: "",
    kind,
    attempt,
    worker: null,
    error: null,
  });
  it("has a row for each attempt; what came before the first belongs to it", () => {
    const rows = rowsOf([
      span("enqueued", 0),
      span("ready", 0),
      span("retried", 1),
      span("scheduled", 2),
      span("running", 2),
    ]);
    expect(rows.map((row) => [row.attempt, row.spans.map((one) => one.kind)])).toEqual([
      [1, ["ready", "retried"]],
      [2, ["scheduled", "running"]],
    ]);
  });
});

describe("paths", () => {
  it("are matched part by part, decoded", () => {
    expect(match("/queues/:name", "/queues/big%20ones")).toEqual({ name: "big ones" });
    expect(match("/queues/:name", "/queues/%E0%A4%A")).toEqual({ name: "%E0%A4%A" });
    expect(match("/queues/:name", "/queues")).toBeNull();
    expect(match("/", "/")).toEqual({});
  });
});

describe("the palette", () => {
  it("puts beginnings of words first and knows what does not fit", () => {
    const names = ["media.transcode", "ml.train", "billing.charge"];
    expect(names.filter((name) => score(name, "tra")).sort((a, b) => score(b, "tra") - score(a, "tra"))).toEqual([
      "ml.train",
      "media.transcode",
    ]);
    expect(score("media.transcode", "mtc")).toBeGreaterThan(0);
    expect(score("billing.charge", "xyz")).toBe(0);
  });
});
