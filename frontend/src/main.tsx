import "uplot/dist/uPlot.min.css";
import "./styles/all.css";
import "@preact/signals";
import { Http, setTransport } from "./api";
import { start } from "./app";
import { startRouter } from "./router";

setTransport(new Http());
startRouter();
start();
