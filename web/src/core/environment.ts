// What the client needs from its platform. Browsers have all of it. Node before 22 lacks `WebSocket`, and Node lacks
// `EventSource`. Tests pass their own. The DOM is not needed.

/** The part of a WebSocket that is used. */
export interface SocketLike {
  onopen: ((event: any) => void) | null
  onmessage: ((event: any) => void) | null
  onclose: ((event: any) => void) | null
  onerror: ((event: any) => void) | null
  send(text: string): void
  close(code?: number, reason?: string): void
}

/** The part of an EventSource that is used. */
export interface EventsLike {
  /** 0 connecting, 1 open, 2 closed for good. */
  readonly readyState: number
  onopen: ((event: any) => void) | null
  onmessage: ((event: any) => void) | null
  onerror: ((event: any) => void) | null
  close(): void
}

/** The part of an HTTP response that is used. */
export interface ReplyLike {
  readonly ok: boolean
  readonly status: number
  json(): Promise<unknown>
}

/** Everything that the client uses from outside. By default each member is the global of that name. */
export interface Environment {
  WebSocket: new (url: string) => SocketLike
  EventSource: new (url: string) => EventsLike
  fetch: (url: string, options?: { cache?: 'no-store'; signal?: any }) => Promise<ReplyLike>
  /** Milliseconds of a monotonic clock, such as `performance.now`. */
  now: () => number
  /** Unix milliseconds. */
  unixNow: () => number
  setTimeout: (call: () => void, ms: number) => unknown
  clearTimeout: (timer: any) => void
  /** Absent on platforms that do not draw. */
  requestAnimationFrame: ((call: () => void) => unknown) | undefined
  cancelAnimationFrame: ((frame: any) => void) | undefined
  /** In 0..1. */
  random: () => number
}

interface Platform extends Omit<Environment, 'now' | 'unixNow' | 'random'> {
  performance: { now(): number }
  location: { href: string }
  URL: new (
    url: string,
    base?: string,
  ) => {
    href: string
    protocol: string
    pathname: string
    search: string
    searchParams: { set(name: string, value: string): void }
  }
}

// Looked up at each use because tests and polyfills replace members.
const platform = globalThis as unknown as Platform

const PLATFORM: Environment = {
  get WebSocket() {
    return platform.WebSocket
  },
  get EventSource() {
    return platform.EventSource
  },
  fetch: (url, options) => platform.fetch(url, options),
  now: () => platform.performance.now(),
  unixNow: () => Date.now(),
  setTimeout: (call, ms) => platform.setTimeout(call, ms),
  clearTimeout: (timer) => platform.clearTimeout(timer),
  get requestAnimationFrame() {
    return platform.requestAnimationFrame && inNextFrame
  },
  get cancelAnimationFrame() {
    return platform.cancelAnimationFrame && ((call: () => void) => void frame?.calls.delete(call))
  },
  random: () => Math.random(),
}

/** Callbacks of the next animation frame. */
let frame: { of: unknown; calls: Set<() => void> } | undefined

/** All callbacks of a frame run in one call, so that a component with two sources is drawn once. */
function inNextFrame(call: () => void): unknown {
  const own = () => call()
  const of = platform.requestAnimationFrame
  if (frame?.of !== of) {
    const next = { of, calls: new Set<() => void>() }
    frame = next
    of?.(() => {
      if (frame === next) frame = undefined
      next.calls.forEach((waiting) => waiting())
    })
  }
  frame!.calls.add(own)
  return own
}

/** The platform, with the members of `own` in place of its own. */
export function environment(own: Partial<Environment> = {}): Environment {
  return Object.create(PLATFORM, Object.getOwnPropertyDescriptors(own)) as Environment
}

const SOCKET_PATH = '/ws/prices'

let home = '/'

/**
 * Sets the default gateway, which is otherwise the root of the page's origin. A page that is served below a path
 * (`/prefix/`) calls this once, before its first hook.
 */
export function setGateway(url: string): void {
  home = url
}

/** `url`, or the default gateway. */
export const gatewayOf = (url: string | undefined): string => url ?? home

/** The parts of a gateway's address: any of `wss://host/ws/prices`, `https://host`, `https://host/prefix`, `/prefix`. */
function parts(url: string | undefined): InstanceType<Platform['URL']> | undefined {
  try {
    const found = new platform.URL(gatewayOf(url), platform.location?.href)
    found.pathname = found.pathname.replace(/(\/ws\/prices)?\/*$/, '')
    return found
  } catch {
    return undefined
  }
}

/** The address of `/ws/prices` of a gateway; by default of the page's gateway. `undefined` without a page. */
export function socketUrl(url?: string): string | undefined {
  const found = parts(url)
  if (!found) return undefined
  found.protocol = found.protocol.replace('http', 'ws')
  found.pathname = found.pathname.replace(/\/$/, '') + SOCKET_PATH
  return found.href
}

/** The address of one of the gateway's pages; `url` as above. */
export function pageUrl(path: string, url?: string, query: Readonly<Record<string, string>> = {}): string | undefined {
  const found = parts(url)
  if (!found) return undefined
  found.protocol = found.protocol.replace('ws', 'http')
  const [name = '', search = ''] = path.split('?')
  found.pathname = found.pathname.replace(/\/$/, '') + name
  if (search) found.search = search
  for (const member in query) found.searchParams.set(member, query[member]!)
  return found.href
}
