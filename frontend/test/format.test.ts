import { describe, expect, it } from "vitest";
import {
  ago,
  bytes,
  clock,
  compact,
  duration,
  exact,
  length,
  memory,
  rate,
  seconds,
  share,
  splitName,
} from "../src/format";

describe("lengths of time", () => {
  it.each([
    [0, "0 s"],
    [0.00042, "0.42 ms"],
    [0.0099, "9.9 ms"],
    [0.85, "850 ms"],
    [0.9996, "1.0 s"],
    [3.14, "3.1 s"],
    [9.96, "10 s"],
    [42, "42 s"],
    [59.6, "1m 00s"],
    [125, "2m 05s"],
    [3599.6, "1h 00m"],
    [11_520, "3h 12m"],
    [86_399, "1d 0h"],
    [360_000, "4d 4h"],
    [null, "–"],
  ])("%s is %s", (given, words) => expect(duration(given)).toBe(words));
  it("leaves out what is nothing where somebody chose the length", () => {
    expect([5, 30, 300, 7200, 86_400, 90].map(length)).toEqual(["5 s", "30 s", "5m", "2h", "1d", "1m 30s"]);
  });
  it("reads what people write", () => {
    expect(["15m", "1h", "7d", "1.5h", "h", "3x", ""].map(seconds)).toEqual([
      900,
      3600,
      604_800,
      5400,
      null,
      null,
      null,
    ]);
  });
});

describe("numbers", () => {
  it("tells rates in the unit that has a whole part", () => {
    expect([0, 43.2, 0.8, 0.0166, 0.0001, 12_345].map(rate)).toEqual([
      "0 /s",
      "43 /s",
      "0.8 /s",
      "1 /min",
      "0.36 /h",
      "12.3k /s",
    ]);
  });
  it("never rounds something to nothing, nor most to all", () => {
    expect([0, 0.0004, 0.0083, 0.091, 0.5, 0.9999, 1].map(share)).toEqual([
      "0 %",
      "<0.1 %",
      "0.8 %",
      "9.1 %",
      "50 %",
      ">99.9 %",
      "100 %",
    ]);
  });
  it("shortens from ten thousand on", () => {
    expect([0, 1204, 9999, 12_345, 999_600, 4_561_000].map(compact)).toEqual([
      "0",
      "1,204",
      "9,999",
      "12.3k",
      "1M",
      "4.56M",
    ]);
  });
  it("tells bytes", () =>
    expect([0, 999, 1_000, 186_000_000, 1_100_000_000].map(bytes)).toEqual([
      "0 B",
      "999 B",
      "1 kB",
      "186 MB",
      "1.1 GB",
    ]));
  it("tells memory in the units of its limits", () =>
    expect([null, 0, 193_000_000, 1_047_900_000, 1_395_864_371, 17_179_869_184].map(memory)).toEqual([
      "–",
      "0 MiB",
      "184 MiB",
      "999 MiB",
      "1.3 GiB",
      "16 GiB",
    ]));
});

describe("times", () => {
  const at = Date.parse("2026-11-21T20:13:19.123Z");
  it("tells them from now", () => {
    expect([ago(at, at), ago(at, at + 12_000), ago(at, at - 190_000)]).toEqual(["now", "12 s ago", "in 3m 10s"]);
  });
  it("shows the zone's clock, with the day when it is another", () => {
    expect(clock(at, "UTC", at)).toBe("20:13:19");
    expect(clock(at, "Asia/Tokyo", at)).toBe("05:13:19");
    expect(clock(at, "UTC", at + 86_400_000)).toBe("21 Nov 20:13:19");
    expect(exact(at, "UTC")).toBe("2026-11-21 20:13:19.123 UTC");
  });
  it("splits a name", () =>
    expect([splitName("a.b.c"), splitName("c")]).toEqual([
      ["a.b.", "c"],
      ["", "c"],
    ]));
});
