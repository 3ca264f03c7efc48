import "uplot/dist/uPlot.min.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";
import "./styles/pages.css";
import "@preact/signals";
import { Http, setTransport } from "./api";
import { start } from "./app";
import { startRouter } from "./router";

setTransport(new Http());
startRouter();
start();
