// How long opportunities live after the alert, per pair of exchanges: a plot with 95 % bands, and a table with the numbers.

import { useMemo } from 'react'
import type { PairSurvival, Survival, SurvivalPoint } from '../../core/reports.js'
import { useReport } from '../hooks/useReport.js'
import { NotCurrent, Route } from './parts.js'
import { lineColor } from './Plot.js'
import { fixed, tamed } from './text.js'

export interface SurvivalChartProps {
  /** Shows the survival of this symbol; default: of all symbols together. */
  symbol?: string | undefined
  /** The gateway; default: the origin of the page. */
  url?: string | undefined
  /** Milliseconds between two requests. Default 5000. */
  everyMs?: number
  /** Number of pairs in the plot, those with the most opportunities first. Default 6. */
  linesMax?: number
}

/** Size of the drawing, in units of its view box, and the space around the plot. */
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [420, 220, 40, 12, 10, 26]

export function SurvivalChart({ symbol, url, everyMs = 5000, linesMax = 6 }: SurvivalChartProps) {
  const path = symbol === undefined ? '/api/survival' : `/api/survival?symbol=${encodeURIComponent(symbol)}`
  const { value, problem } = useReport<Survival>(path, { url, everyMs })
  const pairs = useMemo(() => {
    const wanted = (value?.pairs ?? []).filter((pair) => symbol !== undefined || pair.symbol === null)
    return [...wanted].sort((a, b) => b.episodes - a.episodes)
  }, [value, symbol])
  if (pairs.length === 0) {
    return (
      <div className="sw sw-chart">
        <NotCurrent problem={problem} />
        <p className="sw-quiet sw-empty">No opportunity has ended yet.</p>
      </div>
    )
  }
  const times = value?.timesMs ?? []
  return (
    <div className="sw sw-chart">
      <NotCurrent problem={problem} />
      <Curves times={times} pairs={pairs.slice(0, linesMax)} />
      <div className="sw-scroller" role="region" aria-label="Survival" tabIndex={0}>
        <table className="sw-plain">
          <thead>
            <tr>
              <th scope="col">Buy → sell</th>
              <th scope="col">Count</th>
              {times.map((ms) => (
                <th key={ms} scope="col">
                  {time(ms)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {pairs.map((pair, at) => (
              <tr key={`${pair.buyExchange} ${pair.sellExchange}`}>
                <th scope="row">
                  {at < linesMax && <span className={`sw-swatch sw-swatch-${lineColor(at)}`} aria-hidden="true" />}{' '}
                  <Route from={pair.buyExchange} to={pair.sellExchange} />
                </th>
                <td className="sw-num">{pair.episodes}</td>
                {pair.points.map((point) => (
                  <td key={point.ms} className="sw-num">
                    {point.alive === null ? '–' : share(point.alive)}
                    {point.netKept !== null && <small> net {share(point.netKept)}</small>}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  )
}

/** A line per pair, with the band of each point. The times are at equal distances, since each is a multiple of the one before. */
function Curves({ times, pairs }: { times: readonly number[]; pairs: readonly PairSurvival[] }) {
  const x = (at: number) => LEFT + ((WIDTH - LEFT - RIGHT) * (at + 0.5)) / Math.max(1, times.length)
  const y = (part: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - part)
  const names = pairs.map((pair) => `${tamed(pair.buyExchange)} to ${tamed(pair.sellExchange)}`).join(', ')
  return (
    <svg
      className="sw-survival"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-label={`Share of opportunities that are still above zero after fees, by time after the alert: ${names}; the table has the numbers`}
    >
      {[0, 0.25, 0.5, 0.75, 1].map((part) => (
        <g key={part}>
          <line className="sw-grid" x1={LEFT} x2={WIDTH - RIGHT} y1={y(part)} y2={y(part)} />
          <text x={LEFT - 6} y={y(part) + 4} textAnchor="end">
            {share(part)}
          </text>
        </g>
      ))}
      {times.map((ms, at) => (
        <text key={ms} x={x(at)} y={HEIGHT - 8} textAnchor="middle">
          {time(ms)}
        </text>
      ))}
      {pairs.map((pair, line) => {
        // Bands of several pairs are drawn side by side.
        const shift = (line - (pairs.length - 1) / 2) * 5
        const seen = pair.points.flatMap((point, at) => (isSeen(point) ? [{ point, at: x(at) + shift }] : []))
        return (
          <g key={`${pair.buyExchange} ${pair.sellExchange}`} className={`sw-stroke-${lineColor(line)}`}>
            <polyline points={seen.map(({ point, at }) => `${at},${y(point.alive)}`).join(' ')} />
            {seen.map(({ point, at }) => (
              <g key={point.ms}>
                <line className="sw-band" x1={at} x2={at} y1={y(point.low)} y2={y(point.high)} />
                <circle cx={at} cy={y(point.alive)} r={2.5} />
              </g>
            ))}
          </g>
        )
      })}
    </svg>
  )
}

type SeenPoint = SurvivalPoint & { alive: number; low: number; high: number }

const isSeen = (point: SurvivalPoint): point is SeenPoint => point.alive !== null && point.low !== null && point.high !== null
const share = (part: number) => `${fixed(part * 100, 0)}%`
const time = (ms: number) => (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`)
