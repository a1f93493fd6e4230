// An error boundary: a failure of one view does not affect the rest of the page.

import { Component, type ReactNode } from 'react'
import { Name } from '../src/react/components/parts.js'

interface BoundaryProps {
  /** Name of the view in the message. */
  name: string
  children: ReactNode
}

/** Shows `children`, or their error and a button that tries again. */
export class Boundary extends Component<BoundaryProps, { error: unknown }> {
  override state: { error: unknown } = { error: undefined }

  static getDerivedStateFromError(error: unknown) {
    return { error: error ?? new Error('unknown error') }
  }

  override render() {
    const { error } = this.state
    if (error === undefined) return this.props.children
    return (
      <section className="box failed" role="alert">
        <p>
          {this.props.name} cannot be shown: <Name max={200}>{error instanceof Error ? error.message : String(error)}</Name>. The rest of
          the page still works.
        </p>
        <button type="button" className="sw-button" onClick={() => this.setState({ error: undefined })}>
          Try again
        </button>
      </section>
    )
  }
}
