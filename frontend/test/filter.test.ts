import { describe, expect, it } from "vitest";
import { complete, quoted, toggled, token, tokenise, unknown, valuesOf, withValues } from "../src/filter";

const short = (q: string): [string, string][] => tokenise(q).map((one) => [one.name, one.value]);

describe("the filter", () => {
  it("reads tokens, words and quotes", () => {
    expect(short('state:failed queue:"big ones" meta.tenant:acme arg.video_id=7 no space "left on"')).toEqual([
      ["state", "failed"],
      ["queue", "big ones"],
      ["meta.tenant", "acme"],
      ["arg.video_id", "7"],
      ["", "no"],
      ["", "space"],
      ["", "left on"],
    ]);
  });
  it("knows where each stands", () => {
    const q = " state:failed  x";
    expect(tokenise(q).map((one) => q.slice(one.start, one.end))).toEqual(["state:failed", "x"]);
  });
  it("takes an open quote to the end, and colons in values as they are", () => {
    expect(short('error:"Time out')).toEqual([["error", "Time out"]]);
    expect(short("since:2026-11-21T20:13:19Z key:video:7")).toEqual([
      ["since", "2026-11-21T20:13:19Z"],
      ["key", "video:7"],
    ]);
  });
  it("quotes so that it reads the same again", () => {
    for (const value of ["plain", "two words", 'a "quote"', "back\\slash", 'both " \\ here', ""]) {
      expect(short(token("key", value)), value).toEqual([["key", value]]);
    }
    expect(quoted("x")).toBe("x");
  });
  it("changes one name and leaves the others", () => {
    expect(withValues('queue:media state:failed "two words"', "state", ["ready"])).toBe(
      'state:ready queue:media "two words"',
    );
    expect(toggled("state:failed", "state", "ready")).toBe("state:failed state:ready");
    expect(toggled("state:failed state:ready", "state", "failed")).toBe("state:ready");
    expect(valuesOf("state:a state:b", "state")).toEqual(["a", "b"]);
  });
  it("names what there is not", () =>
    expect(unknown("stat:failed meta.x:1 arg.y=2 word state:failed")).toEqual(["stat"]));
});

describe("completion", () => {
  const values = { state: ["failed", "ready", "running"], queue: ["default", "big ones"] };
  it("offers names, then values", () => {
    expect(complete("st", 2, values).map((one) => one.label)).toEqual(["state:"]);
    expect(complete("state:r", 7, values).map((one) => one.label)).toEqual(["state:ready", "state:running"]);
    expect(complete("state:nni", 9, values).map((one) => one.label)).toEqual(["state:running"]);
  });
  it("puts the value where the caret is and keeps the rest", () => {
    const [offer] = complete("state:fa queue:x", 8, values);
    expect(offer.q).toBe("state:failed queue:x");
    expect(offer.caret).toBe("state:failed ".length);
    expect(complete("queue:b", 7, values)[0].q).toBe('queue:"big ones" ');
  });
  it("offers nothing for what is complete", () => expect(complete("state:failed", 12, values)).toEqual([]));
});
