import { describe, expect, it } from "vitest";
import { back, forward, inPlace, START } from "../src/paging";

describe("keyset pages", () => {
  it("go back the way they came", () => {
    const second = forward(START, "q", "");
    const third = forward(second, "q", "b");
    const two = back(third, "q", "c");
    expect(two?.to).toBe("b");
    expect(back(two?.trail ?? START, "q", "b")?.to).toBe("");
    expect(back(START, "q", "")).toBeNull();
  });
  it("go to the first page from one that was opened by its address, and forget another search", () => {
    expect(back(START, "q", "deep")?.to).toBe("");
    expect(back(forward(START, "other", "x"), "q", "deep")?.to).toBe("");
    expect(forward(forward(START, "other", "x"), "q", "").behind).toEqual([""]);
  });
  it("keep rows in their places while they change", () => {
    const shown = [
      { id: "2", n: 0 },
      { id: "1", n: 0 },
    ];
    expect(
      inPlace(shown, [
        { id: "3", n: 1 },
        { id: "2", n: 1 },
      ]),
    ).toEqual({
      rows: [
        { id: "2", n: 1 },
        { id: "1", n: 0 },
      ],
      more: 1,
    });
  });
});
