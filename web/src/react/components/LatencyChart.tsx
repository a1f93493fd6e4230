// Latency of the hops of a quote, by percentile: all hops of one exchange, or one hop of all exchanges.

import { useCallback, useEffect, useMemo, useRef } from 'react'
import type { Options } from 'uplot'
import type { Latency, Percentiles } from '../../core/reports.js'
import { useReport } from '../hooks/useReport.js'
import { Name, NotCurrent } from './parts.js'
import { Plot, lineColor } from './Plot.js'
import type { Value } from './ring.js'
import { latency } from './text.js'

export interface LatencyChartProps {
  /** Shows all hops of this exchange; `undefined`: of all exchanges together. */
  exchange?: string | undefined
  /** Shows this hop of each exchange; takes precedence over `exchange`. */
  hop?: string | undefined
  /** The gateway, such as `https://host`; default: the origin of the page. */
  url?: string | undefined
  /** Milliseconds between two requests. Default 2000. */
  everyMs?: number
  height?: number
}

const STEPS = ['p50', 'p90', 'p99', 'p999', 'max'] as const
const STEP_NAMES = ['p50', 'p90', 'p99', 'p99.9', 'max']

export function LatencyChart({ exchange, hop, url, everyMs = 2000, height = 260 }: LatencyChartProps) {
  const { value, problem } = useReport<Latency>('/api/latency', { url, everyMs })
  const rows = useMemo(() => (value ? chosen(value, exchange, hop) : []), [value, exchange, hop])
  const drawer = useRef<((data: readonly (readonly Value[])[]) => void) | undefined>(undefined)
  const data = useMemo(() => [STEPS.map((_, at) => at), ...rows.map(([, row]) => STEPS.map((step) => Math.max(1, row[step])))], [rows])
  const newest = useRef<readonly (readonly Value[])[]>(data)
  newest.current = data
  useEffect(() => {
    drawer.current?.(data)
  }, [data])
  const feed = useCallback((draw: (data: readonly (readonly Value[])[]) => void) => {
    drawer.current = draw
    draw(newest.current)
    return () => {
      drawer.current = undefined
    }
  }, [])
  const lines = rows.map(([name], at) => ({ name, color: lineColor(at) }))
  return (
    <div className="sw sw-chart">
      <NotCurrent problem={problem} />
      <Plot
        label={`Latency by percentile, ${hop ?? exchange ?? 'all exchanges'}; the table has the numbers`}
        lines={lines}
        feed={feed}
        options={OPTIONS}
        height={height}
      />
      <LatencyTable rows={rows} head={hop === undefined ? 'Stage' : 'Exchange'} />
    </div>
  )
}

const OPTIONS: Partial<Options> = {
  cursor: { drag: { x: false, y: false } },
  scales: {
    x: { time: false, range: [-0.1, STEPS.length - 0.9] },
    y: { distr: 3, range: (_, least, most) => [decade(Math.floor, least), decade(Math.ceil, most)] },
  },
  axes: [
    { size: 30, splits: () => STEPS.map((_, at) => at), values: (_, ticks) => ticks.map((tick) => STEP_NAMES[tick] ?? '') },
    {
      size: 64,
      grid: { filter: (_, ticks) => ticks.map((tick) => (Number.isInteger(Math.log10(tick)) ? tick : null)) },
      values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : latency(tick))),
    },
  ],
}

/** The power of ten at or beyond `value`. */
const decade = (round: (power: number) => number, value: number | null) => 10 ** round(Math.log10(Math.max(1, value ?? 1)))

type Row = readonly [string, Percentiles]

function chosen(value: Latency, exchange: string | undefined, hop: string | undefined): Row[] {
  const filled = (rows: (readonly [string, Percentiles | undefined])[]) => rows.filter((row): row is Row => (row[1]?.count ?? 0) > 0)
  if (hop !== undefined) {
    const found = value.hops.find((one) => one.hop === hop)
    return filled(Object.entries(found?.exchanges ?? {}))
  }
  return filled(value.hops.map((one) => [one.hop, exchange === undefined ? one.all : one.exchanges[exchange]] as const))
}

function LatencyTable({ rows, head }: { rows: readonly Row[]; head: string }) {
  if (rows.length === 0) return <p className="sw-quiet sw-empty">Nothing has been measured yet.</p>
  return (
    <div className="sw-scroller" role="region" aria-label="Latency by percentile" tabIndex={0}>
      <table className="sw-plain">
        <thead>
          <tr>
            <th scope="col">{head}</th>
            {STEP_NAMES.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
            <th scope="col">Count</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, row], at) => (
            <tr key={name}>
              <th scope="row">
                <span className={`sw-swatch sw-swatch-${lineColor(at)}`} aria-hidden="true" /> <Name>{name.replaceAll('_', ' ')}</Name>
              </th>
              {STEPS.map((step) => (
                <td key={step} className="sw-num">
                  {latency(row[step])}
                </td>
              ))}
              <td className="sw-num">{row.count.toLocaleString('en-US')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
