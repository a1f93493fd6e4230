// Type of `import 'spreadwire/styles.css'`: a stylesheet has no exports.
export {}
