import { createRoot } from 'react-dom/client'
import { App } from './App.js'
import '../src/react/components/styles.css'
import './dashboard.css'

createRoot(document.getElementById('page')!).render(<App />)
