// The viewer's subscriptions, notifications and appearance, stored in this browser.

import { useEffect, useId, useState } from 'react'
import { NotifyButton } from '../src/react/index.js'
import { Name } from '../src/react/components/parts.js'
import type { Watched } from './watched.js'
import { INTERVALS, change, useSettings } from './settings.js'

export function SettingsView({ watched }: { watched: Watched }) {
  const settings = useSettings()
  return (
    <div className="stack">
      <section className="box" aria-labelledby="looks-title">
        <div className="bar">
          <h2 id="looks-title">Looks and pace</h2>
        </div>
        <div className="form">
          <label className="field wide">
            <span>Theme</span>
            <select value={settings.theme} onChange={(event) => change({ theme: event.target.value as typeof settings.theme })}>
              <option value="system">as the system</option>
              <option value="light">light</option>
              <option value="dark">dark</option>
            </select>
          </label>
          <label className="field wide">
            <span>Price updates</span>
            <select value={settings.intervalMs} onChange={(event) => change({ intervalMs: Number(event.target.value) })}>
              {INTERVALS.map(([ms, name]) => (
                <option key={ms} value={ms}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        </div>
      </section>
      <section className="box" aria-labelledby="alerts-title">
        <div className="bar">
          <h2 id="alerts-title">Opportunities</h2>
        </div>
        <div className="form">
          <Threshold />
          <label className="check">
            <input type="checkbox" checked={settings.notify} onChange={(event) => change({ notify: event.target.checked })} />
            Notify me when one opens
          </label>
          {settings.notify && <NotifyButton />}
        </div>
      </section>
      <Subscriptions
        title="Instruments"
        names={watched.all.symbols}
        hidden={settings.hiddenSymbols}
        onChange={(hiddenSymbols) => change({ hiddenSymbols })}
      />
      <Subscriptions
        title="Exchanges"
        names={watched.all.exchanges}
        hidden={settings.hiddenExchanges}
        onChange={(hiddenExchanges) => change({ hiddenExchanges })}
      />
    </div>
  )
}

/** The viewer's threshold, in addition to the gateway's. */
export function Threshold({ end = false }: { end?: boolean }) {
  const { thresholdPct } = useSettings()
  const [text, setText] = useState(String(thresholdPct))
  useEffect(() => {
    setText(String(thresholdPct))
  }, [thresholdPct])
  const entered = (value: string) => {
    setText(value)
    const next = Number(value)
    if (value !== '' && next >= 0 && next < 100) change({ thresholdPct: next })
  }
  return (
    <label className={end ? 'field end' : 'field'}>
      <span>at least</span>
      <input
        type="number"
        className="figure"
        min={0}
        max={99}
        step={0.1}
        value={text}
        aria-label="Smallest spread before fees, in percent"
        onChange={(event) => entered(event.target.value)}
        onBlur={() => setText(String(thresholdPct))}
      />
      <span>% gross</span>
    </label>
  )
}

interface SubscriptionsProps {
  title: string
  names: readonly string[]
  hidden: readonly string[]
  onChange: (hidden: string[]) => void
}

function Subscriptions({ title, names, hidden, onChange }: SubscriptionsProps) {
  const id = useId()
  const watched = names.filter((name) => !hidden.includes(name)).length
  const set = (name: string, on: boolean) => onChange(on ? hidden.filter((other) => other !== name) : [...hidden, name])
  return (
    <section className="box" aria-labelledby={id}>
      <div className="bar">
        <h2 id={id}>{title}</h2>
        <span className="sw-quiet">
          {watched} of {names.length} watched
        </span>
        <button type="button" className="sw-button" onClick={() => onChange([])}>
          All
        </button>
        <button type="button" className="sw-button" onClick={() => onChange([...names])}>
          None
        </button>
      </div>
      <ul className="checks">
        {names.map((name) => (
          <li key={name}>
            <label className="check">
              <input type="checkbox" checked={!hidden.includes(name)} onChange={(event) => set(name, event.target.checked)} />
              <Name>{name}</Name>
            </label>
          </li>
        ))}
      </ul>
    </section>
  )
}
