// The latest samples of several lines, in a ring of fixed size, so that the cost of a chart does not grow.

/** A missing sample; drawn as a gap. */
export type Value = number | null

/** The last `capacity` samples of `lines` values each. Memory is allocated once. */
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

  /** Number of samples. */
  get length(): number {
    return this.held
  }

  /** Adds a sample at `time`; overwrites the oldest if the ring is full. */
  push(time: number, values: readonly Value[]): void {
    this.columns.forEach((column, at) => {
      column[this.next] = at === 0 ? time : (values[at - 1] ?? null)
    })
    this.next = (this.next + 1) % this.capacity
    this.held = Math.min(this.held + 1, this.capacity)
  }

  /** Times, then the values of each line, oldest first. Each call returns the same arrays. */
  aligned(): readonly Value[][] {
    const first = (this.next - this.held + this.capacity) % this.capacity
    this.columns.forEach((column, line) => {
      const out = this.out[line]!
      out.length = this.held
      for (let at = 0; at < this.held; at += 1) out[at] = column[(first + at) % this.capacity]!
    })
    return this.out
  }

  /** The latest value of each line. */
  newest(): Value[] {
    const last = (this.next - 1 + this.capacity) % this.capacity
    return this.columns.slice(1).map((column) => (this.held === 0 ? null : column[last]!))
  }
}
