class Metric {
  add() {}
}

export { Metric as Counter, Metric as Trend };
