import { describe, expect, it } from "vitest";
import { parseJson, printJson } from "../src/json";

describe("JSON with all digits", () => {
  it("keeps an integer that a double cannot hold", () => {
    const text = '{"id":9007199254740993,"near":-9007199254740993,"small":12}';
    expect(parseJson(text)).toEqual({ id: 9007199254740993n, near: -9007199254740993n, small: 12 });
    expect(printJson(parseJson(text), 0)).toBe(text);
  });
  it("reads everything else as JSON.parse does", () => {
    const text =
      ' {"a" : [1.5e3, -0.25, true, null, "x\\n\\u00e9 \\" 12345678901234567890"], "b": {}, "c": [ ], "long": 12345678901234.567890} ';
    expect(parseJson(text)).toEqual(JSON.parse(text));
  });
  it("refuses what is not JSON, with and without long numbers", () => {
    for (const text of [
      "",
      "{",
      "[1,]",
      '{"a":1234567890123456789',
      "12345678901234567890 1",
      "01234567890123456789",
      "{'a':1}",
      '{"a":12345678901234567890,}',
    ]) {
      expect(() => parseJson(text), text).toThrow(SyntaxError);
    }
  });
  it("takes __proto__ as a name like any other", () => {
    const value = parseJson('{"__proto__":{"x":12345678901234567890}}') as object;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.keys(value)).toEqual(["__proto__"]);
  });
  it("indents as JSON.stringify does", () => {
    const value = { a: [1, { b: "c" }], d: [], e: {}, f: null };
    expect(printJson(value)).toBe(JSON.stringify(value, null, 2));
  });
});
