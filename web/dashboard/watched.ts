// The gateway's instruments, and those that the viewer watches.

import { useMemo } from 'react'
import { useReport } from '../src/react/hooks/useReport.js'
import { limitsOf, type Limits } from '../src/core/limits.js'
import type { Instruments, Status } from '../src/core/reports.js'
import { watchedOf, type Watched } from './room.js'
import { useSettings } from './settings.js'

export type { Watched }

export function useWatched(): Watched {
  const { value } = useReport<Instruments>('/api/instruments', { everyMs: 10_000 })
  const status = useReport<Status>('/api/status', { everyMs: 10_000 })
  const { hiddenSymbols, hiddenExchanges } = useSettings()
  const isKnown = status.value !== undefined || status.problem !== null
  // An unchanged response causes no update. Nothing is watched before the limits are known or known to be unavailable.
  const content = JSON.stringify(isKnown ? (value?.instruments ?? []) : [])
  const limits = JSON.stringify(limitsOf(status.value?.limits))
  return useMemo(() => {
    const instruments = JSON.parse(content) as Instruments['instruments']
    return watchedOf(instruments, JSON.parse(limits) as Limits, hiddenSymbols, hiddenExchanges)
  }, [content, limits, hiddenSymbols, hiddenExchanges])
}
