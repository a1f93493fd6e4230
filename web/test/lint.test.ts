// The custom lint: effects and callback refs that return the result of a call.
import { Linter } from 'eslint'
import { expect, test } from 'vitest'
import effects from '../lint/effects.js'

const reported = (code: string) => {
  const config = {
    plugins: { own: { rules: { effects } } },
    rules: { 'own/effects': 'error' },
    languageOptions: { parserOptions: { ecmaFeatures: { jsx: true } } },
  }
  return new Linter().verify(code, config as Linter.Config).map(({ messageId, message }) => messageId ?? message)
}

test.each([
  'useEffect(() => place.current?.scrollIntoView(), [view])',
  'useLayoutEffect(() => on && call())',
  'React.useEffect(function () { if (a) { return call() } })',
  'useEffect(() => { return on ? () => {} : call() })',
  'useEffect(async () => {})',
  'const a = <div ref={(element) => element?.focus()} />',
])('%s is reported', (code) => {
  expect(reported(code)).toEqual(['returns'])
})

test.each([
  'useEffect(() => { place.current?.scrollIntoView() }, [view])',
  'useEffect(() => { const stop = listen(); return stop })',
  'useEffect(() => { return () => timers.delete(own) })',
  'useEffect(() => () => end(), [])',
  'useEffect(() => { const one = () => { return call() }; one(); return })',
  'useEffect(() => void call(), [])',
  'useMemo(() => call(), [])',
  'const a = <div ref={(element) => { place = element }} onClick={() => call()} />',
])('%s is not', (code) => {
  expect(reported(code)).toEqual([])
})
