// How many of the closed opportunities of each pair of exchanges were real, in the last seven days and today.

import type { Precision } from '../../core/reports.js'
import { useReport } from '../hooks/useReport.js'
import { NotCurrent, Route } from './parts.js'
import { fixed } from './text.js'

export interface PrecisionTableProps {
  /** The gateway; default: the origin of the page. */
  url?: string | undefined
  /** Milliseconds between two requests. Default 5000. */
  everyMs?: number
}

export function PrecisionTable({ url, everyMs = 5000 }: PrecisionTableProps) {
  const { value, problem } = useReport<Precision>('/api/precision', { url, everyMs })
  const pairs = [...(value?.pairs ?? [])].sort((a, b) => b.closed - a.closed)
  const classes = [...new Set(pairs.flatMap((pair) => Object.keys(pair.classes)))].filter((name) => name !== 'real')
  return (
    <div className="sw">
      <NotCurrent problem={problem} />
      {pairs.length === 0 ? (
        <p className="sw-quiet sw-empty">None has closed yet.</p>
      ) : (
        <div className="sw-scroller" role="region" aria-label="Precision" tabIndex={0}>
          <table className="sw-plain">
            <thead>
              <tr>
                <th scope="col">Buy → sell</th>
                <th scope="col">Precision</th>
                <th scope="col">Closed</th>
                <th scope="col">Real</th>
                {classes.map((name) => (
                  <th key={name} scope="col">
                    {classText(name)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {pairs.map((pair) => (
                <tr key={`${pair.buyExchange} ${pair.sellExchange}`}>
                  <th scope="row">
                    <Route from={pair.buyExchange} to={pair.sellExchange} />
                  </th>
                  <td className="sw-num">{pair.precision === null ? '–' : `${fixed(pair.precision * 100, 0)}%`}</td>
                  <td className="sw-num">{pair.closed}</td>
                  <td className="sw-num">{pair.real}</td>
                  {classes.map((name) => (
                    <td key={name} className="sw-num">
                      {pair.classes[name] ?? 0}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  )
}

/** A class in words. */
function classText(name: string): string {
  const text = name.replaceAll('_', ' ')
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}
