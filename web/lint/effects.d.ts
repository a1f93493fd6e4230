import type { Rule } from 'eslint'
declare const effects: Rule.RuleModule
export default effects
