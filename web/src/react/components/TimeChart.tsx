// A chart of several lines over the last minutes, sampled at a fixed interval.

import { useCallback, useMemo, useRef } from 'react'
import type { Options } from 'uplot'
import { Name, Ticking } from './parts.js'
import { Plot, lineColor } from './Plot.js'
import { Ring } from './ring.js'
import type { Value } from './ring.js'
import { clock } from './text.js'

export interface TimeChartProps {
  /** Description of the chart. */
  label: string
  /** Names of the lines. */
  lines: readonly string[]
  /** The current value of each line; `null` draws a gap. */
  sample: () => readonly Value[]
  /** Formats a value. */
  format: (value: number) => string
  /** Time span of the chart, in milliseconds. Default three minutes. */
  windowMs?: number
  /** Milliseconds between two samples. Default 250. */
  stepMs?: number
  height?: number
}

export function TimeChart({ label, lines, sample, format, windowMs = 180_000, stepMs = 250, height = 240 }: TimeChartProps) {
  const names = lines.join('\n')
  const ring = useMemo(() => new Ring(names.split('\n').length, Math.ceil(windowMs / stepMs)), [names, windowMs, stepMs])
  const newest = useRef(sample)
  newest.current = sample
  const text = useRef(format)
  text.current = format

  const feed = useCallback(
    (draw: (data: readonly (readonly Value[])[]) => void) => {
      const step = () => {
        ring.push(Date.now() / 1000, newest.current())
        draw(ring.aligned())
      }
      if (ring.length > 0) draw(ring.aligned())
      const timer = setInterval(step, stepMs)
      return () => clearInterval(timer)
    },
    [ring, stepMs],
  )
  const options = useMemo<Partial<Options>>(
    () => ({
      cursor: { drag: { x: false, y: false } },
      scales: { x: { range: (plot) => span(plot.data[0], windowMs / 1000) } },
      axes: [
        { space: 90, size: 30, values: (_, ticks) => ticks.map((tick) => clock(tick * 1000)) },
        { size: 72, values: (_, ticks) => ticks.map((tick) => text.current(tick)) },
      ],
    }),
    [windowMs],
  )
  const drawn = lines.map((name, at) => ({ name, color: lineColor(at) }))
  return (
    <div className="sw sw-chart">
      <Plot label={label} lines={drawn} feed={feed} options={options} height={height} />
      <Legend ring={ring} lines={drawn} format={format} />
    </div>
  )
}

/** The visible range: all samples, but at least `LEAST` and at most `most` seconds. */
function span(times: ArrayLike<number>, most: number): [number, number] {
  const end = times[times.length - 1] ?? Date.now() / 1000
  return [Math.max(end - most, Math.min(times[0] ?? end, end - LEAST)), end]
}
const LEAST = 15

function Legend({
  ring,
  lines,
  format,
}: {
  ring: Ring
  lines: readonly { name: string; color: number }[]
  format: (value: number) => string
}) {
  const text = (at: number) => {
    const value = ring.newest()[at]
    return value === null || value === undefined ? '–' : format(value)
  }
  return (
    <ul className="sw-legend">
      {lines.map(({ name, color }, at) => (
        <li key={name}>
          <span className={`sw-swatch sw-swatch-${color}`} aria-hidden="true" />
          <Name>{name}</Name>{' '}
          <b className="sw-num">
            <Ticking step={500} text={() => text(at)} />
          </b>
        </li>
      ))}
    </ul>
  )
}
