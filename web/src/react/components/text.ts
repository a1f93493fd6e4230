// Formats numbers and names for people. In text from the network, characters that could hide or reorder other text are shown by
// their code.

/** Control characters, bidirectional marks, zero-width characters and lone surrogates. */
const HIDDEN =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** A name or an error from the network with all characters visible, at most `max` characters long. */
export function tamed(text: string, max = 80): string {
  const letters = Array.from(text.slice(0, 4 * max))
  const cut = letters.length > max ? `${letters.slice(0, max - 1).join('')}…` : letters.join('')
  return cut.replace(HIDDEN, (mark) => `⟨${mark.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`)
}

const formats = new Map<number, Intl.NumberFormat>()

/** `value` with thousands separators and exactly `decimals` decimals, so that columns keep their width. */
export function fixed(value: number, decimals: number): string {
  let format = formats.get(decimals)
  if (!format) {
    format = new Intl.NumberFormat('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
    formats.set(decimals, format)
  }
  return format.format(value)
}

/** Number of decimals of `value`, at most 12. */
export function decimalsOf(value: number): number {
  const [digits = '', power = '0'] = String(value).split('e')
  const after = digits.includes('.') ? digits.length - digits.indexOf('.') - 1 : 0
  return Math.min(12, Math.max(0, after - Number(power)))
}

/** At least `least` decimals, and more for small prices, so that four significant digits are shown. */
export function decimalsFor(value: number, least: number): number {
  if (!(Math.abs(value) > 0)) return least
  return Math.min(12, Math.max(least, 3 - Math.floor(Math.log10(Math.abs(value)))))
}

const DOLLARS = /^(USD|USDT|USDC|BUSD|FDUSD|TUSD|DAI|PYUSD)$/i

/** `$` for prices in dollars and dollar tokens. A symbol without a quote currency counts as dollars. */
export function currencySign(symbol: string): string {
  const quote = symbol.split('/')[1]
  return quote === undefined || DOLLARS.test(quote) ? '$' : ''
}

/** A price with its currency sign and at least `least` decimals. */
export function money(symbol: string, value: number, least: number): string {
  return currencySign(symbol) + fixed(value, decimalsFor(value, least))
}

/** A signed percentage. */
export function percent(value: number, decimals = 2): string {
  return `${value > 0 ? '+' : ''}${fixed(value, decimals)}%`
}

/** A size or a count in short form: 12.3k, 4.56M. */
export function short(value: number): string {
  const size = Math.abs(value)
  if (size >= 1e9) return `${fixed(value / 1e9, 2)}G`
  if (size >= 1e6) return `${fixed(value / 1e6, 2)}M`
  if (size >= 1e4) return `${fixed(value / 1e3, 1)}k`
  if (size >= 100 || Number.isInteger(value)) return fixed(value, 0)
  return fixed(value, decimalsFor(value, 2))
}

/** Bytes in binary units. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024
    at += 1
  }
  return `${fixed(value, at === 0 || value >= 100 ? 0 : 1)} ${units[at]}`
}

/** A duration: 3 ms, 1.2 s, 45 s, 3 min, 2 h, 4 d. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 10_000) return `${fixed(ms / 1000, 1)} s`
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`
  return `${Math.round(ms / 86_400_000)} d`
}

/** A latency: 820 ns, 17.3 µs, 1.2 ms, 3 s. */
export function latency(ns: number): string {
  if (ns < 1000) return `${Math.round(ns)} ns`
  if (ns < 1e6) return `${fixed(ns / 1e3, ns < 1e5 ? 1 : 0)} µs`
  if (ns < 1e9) return `${fixed(ns / 1e6, ns < 1e8 ? 1 : 0)} ms`
  return `${fixed(ns / 1e9, 1)} s`
}

/** The time of day of a Unix time in milliseconds. */
export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString(undefined, { hour12: false })
}
