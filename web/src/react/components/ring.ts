// The last values of some lines over time: a ring of fixed size, so that a chart is as fast after a day as
// after a minute.

/** A point that is missing draws a gap. */
export type Value = number | null

/** The last `capacity` samples of `lines` values each. Memory is taken once. */
export class Ring {
  private readonly columns: Value[][]
  private readonly out: Value[][]
  private next = 0
  private held = 0

  constructor(
    lines: number,
    readonly capacity: number,
  ) {
    this.columns = Array.from({ length: lines + 1 }, () => new Array<Value>(capacity).fill(null))
    this.out = Array.from({ length: lines + 1 }, () => [])
  }

  /** How many samples it holds. */
  get length(): number {
    return this.held
  }

  /** Adds a sample at `time`; the oldest makes room. */
  push(time: number, values: readonly Value[]): void {
    this.columns.forEach((column, at) => {
      column[this.next] = at === 0 ? time : (values[at - 1] ?? null)
    })
    this.next = (this.next + 1) % this.capacity
    this.held = Math.min(this.held + 1, this.capacity)
  }

  /** Times, then the values of each line, oldest first. The same arrays at each call. */
  aligned(): readonly Value[][] {
    const first = (this.next - this.held + this.capacity) % this.capacity
    this.columns.forEach((column, line) => {
      const out = this.out[line]!
      out.length = this.held
      for (let at = 0; at < this.held; at += 1) out[at] = column[(first + at) % this.capacity]!
    })
    return this.out
  }

  /** The newest value of each line. */
  newest(): Value[] {
    const last = (this.next - 1 + this.capacity) % this.capacity
    return this.columns.slice(1).map((column) => (this.held === 0 ? null : column[last]!))
  }
}
