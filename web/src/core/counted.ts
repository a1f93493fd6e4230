/** Names with a count of their holders, in the order of arrival. A name is removed with its last holder. */
export class CountedNames {
  #counts = new Map<string, number>()

  add(names: Iterable<string>): void {
    for (const name of names) this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  /** The same names that were added. */
  remove(names: Iterable<string>): void {
    for (const name of names) {
      const left = (this.#counts.get(name) ?? 0) - 1
      if (left > 0) this.#counts.set(name, left)
      else this.#counts.delete(name)
    }
  }

  has(name: string): boolean {
    return this.#counts.has(name)
  }

  [Symbol.iterator](): IterableIterator<string> {
    return this.#counts.keys()
  }
}
