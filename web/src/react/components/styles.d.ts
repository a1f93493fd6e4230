// What compilers find at `import 'spreadwire/styles.css'`: a stylesheet exports nothing.
export {}
