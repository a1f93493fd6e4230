// Forbids effects and callback refs that return the result of a call. React calls what they return as a cleanup. If a newer browser
// returns a value where an older one returned nothing (such as the promise of `scrollIntoView` since Chromium 150), the page fails.

const EFFECTS = new Set(['useEffect', 'useLayoutEffect', 'useInsertionEffect'])
const isFunction = (node) => node?.type === 'ArrowFunctionExpression' || node?.type === 'FunctionExpression'
const nameOf = (callee) => (callee.type === 'MemberExpression' ? callee.property.name : callee.name)

/** A cleanup is an inline function or an identifier, which the compiler can check. `void` returns nothing. */
const isCleanup = (node) => isFunction(node) || node.type === 'Identifier' || (node.type === 'UnaryExpression' && node.operator === 'void')

export default {
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      returns: 'React calls the returned value as a cleanup: use braces, and return a function or nothing.',
    },
  },
  create(context) {
    /** Functions whose return value React uses as a cleanup. */
    const guarded = new Set()
    const guard = (node) => {
      if (!isFunction(node)) return
      guarded.add(node)
      if (node.async) context.report({ node, messageId: 'returns' })
      if (node.body.type !== 'BlockStatement' && !isCleanup(node.body)) context.report({ node: node.body, messageId: 'returns' })
    }
    return {
      CallExpression({ callee, arguments: [effect] }) {
        if (EFFECTS.has(nameOf(callee))) guard(effect)
      },
      'JSXAttribute[name.name="ref"] > JSXExpressionContainer': ({ expression }) => guard(expression),
      ReturnStatement(node) {
        let around = node.parent
        while (around && !isFunction(around) && around.type !== 'FunctionDeclaration') around = around.parent
        if (guarded.has(around) && node.argument && !isCleanup(node.argument)) context.report({ node, messageId: 'returns' })
      },
    }
  },
}
