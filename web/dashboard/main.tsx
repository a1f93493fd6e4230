import { createRoot } from 'react-dom/client'
import { setGateway } from '../src/core/environment.js'
import { App } from './App.js'
import { Boundary } from './Boundary.js'
import '../src/react/components/styles.css'
import './dashboard.css'

// The page may be served below a path: the gateway is at the same path.
setGateway(new URL('.', location.href).pathname)
createRoot(document.getElementById('page')!).render(
  <Boundary name="The dashboard">
    <App />
  </Boundary>,
)
