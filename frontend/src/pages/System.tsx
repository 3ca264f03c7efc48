/** What it all stands on: the store and what it survives, who runs which version, who did what. */
import type { JSX } from "preact";
import { reads } from "../api";
import { bytes, length, plural } from "../format";
import { printJson } from "../json";
import { useRead } from "../read";
import { Link, param, setQuery } from "../router";
import { boot, may } from "../settings";
import { Button, Card, Clock, Empty, Head, Skeleton, Trouble, useTitle } from "../parts/basic";
import { Icon } from "../parts/icons";
import type { System as Value } from "../types";

const DANGERS = ["process crash", "power cut", "node loss"];

function Store({ store }: { store: Value["store"] }): JSX.Element {
  return (
    <Card title="Store">
      <p class="store-name">
        <b>
          {store.kind} {store.version}
        </b>
        <span class="mono faint">{store.place}</span>
      </p>
      <ul class="survives">
        {DANGERS.map((danger) => {
          const safe = store.survives.includes(danger);
          return (
            <li key={danger} class={safe ? "safe" : ""}>
              <Icon name={safe ? "check" : "close"} label={safe ? "survives" : "does not survive"} />
              {danger}
            </li>
          );
        })}
      </ul>
      {store.remarks.map((remark) => (
        <p class="remark" key={remark}>
          <Icon name="failures" />
          {remark}
        </p>
      ))}
      <dl class="facts">
        {Object.entries(store.details).map(([name, value]) => (
          <div key={name}>
            <dt>{name.replaceAll("_", " ")}</dt>
            <dd class="mono">{/bytes/.test(name) && typeof value === "number" ? bytes(value) : shown(value)}</dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}

const shown = (value: unknown): string => (typeof value === "string" ? value : printJson(value, 0));

function Audit(): JSX.Element {
  const before = param("before");
  const { value, problem, again } = useRead(reads.audit(before), { live: false });
  return (
    <Card title="Audit log" flush id="audit">
      {problem && <Trouble problem={problem} again={again} />}
      {!value ? (
        !problem && <Skeleton />
      ) : !value.entries.length ? (
        <Empty title="Nobody did anything yet">Every action taken here is written down: who, when, what.</Empty>
      ) : (
        <div class="scroller">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">when</th>
                <th scope="col">who</th>
                <th scope="col">did</th>
                <th scope="col">to</th>
                <th scope="col" class="c2">
                  detail
                </th>
              </tr>
            </thead>
            <tbody>
              {value.entries.map((one) => (
                <tr key={one.id}>
                  <td class="when">
                    <Clock at={one.at} />
                  </td>
                  <td>
                    {one.who} <span class="faint c3-inline">{one.role}</span>
                  </td>
                  <td>{one.action}</td>
                  <td class="mono target">{one.target}</td>
                  <td class="c2 faint">{one.detail}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {value && (value.next || before) && (
        <div class="pager">
          <span />
          <Button icon="left" disabled={!before} onClick={() => history.back()}>
            Newer
          </Button>
          <Button disabled={!value.next} onClick={() => setQuery({ before: value.next })}>
            Older
          </Button>
        </div>
      )}
    </Card>
  );
}

export function System(): JSX.Element {
  useTitle("System");
  const { value, problem, again } = useRead(reads.system(), { live: false });
  return (
    <>
      <Head title="System" />
      {problem && <Trouble problem={problem} again={again} />}
      {!value ? (
        !problem && <Skeleton block />
      ) : (
        <div class="halves">
          <Store store={value.store} />
          <div class="stack">
            <Card title="Versions" aside={<span class="faint">dashboard {boot.version}</span>} flush>
              {value.versions.length ? (
                <div class="scroller">
                  <table class="table">
                    <thead>
                      <tr>
                        <th scope="col">windlass</th>
                        <th scope="col">code</th>
                        <th scope="col" class="right">
                          workers
                        </th>
                      </tr>
                    </thead>
                    <tbody>
                      {value.versions.map((one) => (
                        <tr key={one.version + one.code}>
                          <td class="mono">{one.version}</td>
                          <td class="mono">{one.code || "–"}</td>
                          <td class="right">
                            <Link class="plain number" to="/workers">
                              {one.workers}
                            </Link>
                          </td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              ) : (
                <Empty title="No worker lives" />
              )}
            </Card>
            <Card title="History is kept">
              <dl class="facts">
                {value.retention.map((one) => (
                  <div key={one.step}>
                    <dt>in steps of {length(one.step)}</dt>
                    <dd>{plural(Math.round(one.kept / 86_400), "day")}</dd>
                  </div>
                ))}
              </dl>
            </Card>
            <Card title="Settings">
              <dl class="facts wide">
                {Object.entries(value.settings).map(([name, one]) => (
                  <div key={name}>
                    <dt class="mono">{name}</dt>
                    <dd class="mono">{shown(one)}</dd>
                  </div>
                ))}
              </dl>
            </Card>
          </div>
        </div>
      )}
      {may("operator") && <Audit />}
    </>
  );
}
