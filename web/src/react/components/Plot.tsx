// uPlot in a React element. It is drawn again when data or colours change, and not created again for a sample. uPlot is loaded
// with the first chart.

import { useEffect, useRef } from 'react'
import type { AlignedData, Options, default as UPlot } from 'uplot'
import type { Value } from './ring.js'

export interface PlotLine {
  name: string
  /** Index in the palette of CSS variables `--sw-line-1` to `--sw-line-12`. */
  color: number
}

export interface PlotProps {
  /** Description for screen readers. */
  label: string
  lines: readonly PlotLine[]
  /** Called with the function that draws new data. Returns the function that unsubscribes. */
  feed: (draw: (data: readonly (readonly Value[])[]) => void) => () => void
  /** Scales, axes and other options of the chart. The same object while nothing changes. */
  options: Partial<Options>
  height?: number
}

const COLORS = 12

export function Plot({ label, lines, feed, options, height = 240 }: PlotProps) {
  const place = useRef<HTMLDivElement>(null)
  const names = lines.map((line) => `${line.name} ${line.color}`).join('\n')
  useEffect(() => {
    const element = place.current
    if (!element) return
    let plot: UPlot | undefined
    let data: readonly (readonly Value[])[] = [[], ...lines.map(() => [])]
    let ended = false
    let Plotter: typeof UPlot | undefined
    const make = () => {
      if (!Plotter || ended) return
      plot?.destroy()
      plot = new Plotter(dressed(element, lines, options, height), data as AlignedData, element)
    }
    const stop = feed((next) => {
      data = next
      plot?.setData(next as AlignedData)
    })
    const resized = new ResizeObserver(() => plot?.setSize({ width: element.clientWidth, height }))
    resized.observe(element)
    const unwatch = onTheme(make)
    void import('uplot').then((loaded) => {
      Plotter = loaded.default
      make()
    })
    return () => {
      ended = true
      stop()
      unwatch()
      resized.disconnect()
      plot?.destroy()
    }
    // `names` represents the lines: arrays with the same names are the same lines.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [names, feed, options, height])
  return (
    <figure className="sw sw-plot">
      <div ref={place} role="img" aria-label={label} className={`sw-canvas sw-canvas-${height > 200 ? 'tall' : 'low'}`} />
    </figure>
  )
}

/** The colour of a line, by its index. */
export const lineColor = (at: number) => (at % COLORS) + 1

function dressed(element: HTMLElement, lines: readonly PlotLine[], options: Partial<Options>, height: number): Options {
  const style = getComputedStyle(element)
  const color = (name: string) => style.getPropertyValue(name).trim()
  const grid = { stroke: color('--sw-line'), width: 1 }
  const axis = { stroke: color('--sw-muted'), ticks: { show: false }, font: `11px ${style.fontFamily}` }
  return {
    ...options,
    width: element.clientWidth,
    height,
    legend: { show: false },
    axes: (options.axes ?? [{}, {}]).map((own) => ({ ...axis, ...own, grid: { ...grid, ...own.grid } })),
    series: [
      {},
      ...lines.map((line) => ({ label: line.name, stroke: color(`--sw-line-${line.color}`), width: 1.5, points: { show: false } })),
    ],
  }
}

/** Calls `change` when the colour scheme of the page changes. */
function onTheme(change: () => void): () => void {
  const media = matchMedia('(prefers-color-scheme: dark)')
  const observer = new MutationObserver(change)
  media.addEventListener('change', change)
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
  return () => {
    media.removeEventListener('change', change)
    observer.disconnect()
  }
}
