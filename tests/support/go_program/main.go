// Render chat templates with Go's own text/template, prepared as Ollama's server does.
//
// Reads one JSON object a line: {"template", "messages", "think": true|false|null, "date"}; writes one a
// line: {"text"} or {"error"}.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"text/template"
	"text/template/parse"
)

type request struct {
	Template string    `json:"template"`
	Messages []message `json:"messages"`
	System   string    `json:"system"`
	Think    *bool     `json:"think"`
	Date     string    `json:"date"`
}

type message struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	Thinking   string     `json:"thinking"`
	ToolName   string     `json:"tool_name"`
	ToolCallID string     `json:"tool_call_id"`
	Images     []string   `json:"-"`
	ToolCalls  []struct{} `json:"-"`
}

type answer struct {
	Text  string `json:"text"`
	Error string `json:"error,omitempty"`
}

// limited refuses more output than any conversation of the tests needs.
type limited struct{ strings.Builder }

func (w *limited) Write(data []byte) (int, error) {
	if w.Len()+len(data) > 64<<20 {
		return 0, errors.New("too much output")
	}
	return w.Builder.Write(data)
}

// mentions says whether a template reads a field, whatever its case.
func mentions(node parse.Node, name string) bool {
	found := false
	visit(node, func(field string) { found = found || strings.EqualFold(field, name) })
	return found
}

func visit(node parse.Node, see func(string)) {
	branch := func(b parse.BranchNode) {
		visit(b.Pipe, see)
		visit(b.List, see)
		if b.ElseList != nil {
			visit(b.ElseList, see)
		}
	}
	switch n := node.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			visit(child, see)
		}
	case *parse.ActionNode:
		visit(n.Pipe, see)
	case *parse.IfNode:
		branch(n.BranchNode)
	case *parse.RangeNode:
		branch(n.BranchNode)
	case *parse.WithNode:
		branch(n.BranchNode)
	case *parse.PipeNode:
		for _, command := range n.Cmds {
			for _, argument := range command.Args {
				visit(argument, see)
			}
		}
	case *parse.ChainNode:
		visit(n.Node, see)
	case *parse.FieldNode:
		for _, field := range n.Ident {
			see(field)
		}
	case *parse.VariableNode:
		for _, field := range n.Ident {
			see(field)
		}
	}
}

// prepared returns all systems' words and the messages, adjacent ones of one role joined.
func prepared(r request) (string, []*message) {
	messages := r.Messages
	if r.System != "" && (len(messages) == 0 || messages[0].Role != "system") {
		messages = append([]message{{Role: "system", Content: r.System}}, messages...)
	}
	var systems []string
	var joined []*message
	for i := range messages {
		m := messages[i]
		if m.Role == "system" {
			systems = append(systems, m.Content)
		}
		if last := len(joined) - 1; last >= 0 && joined[last].Role == m.Role && m.Role != "tool" {
			joined[last].Content += "\n\n" + m.Content
		} else {
			joined = append(joined, &m)
		}
	}
	return strings.Join(systems, "\n\n"), joined
}

func render(r request) (string, error) {
	functions := template.FuncMap{
		"json": func(v any) string {
			data, _ := json.Marshal(v)
			return string(data)
		},
		"currentDate": func(...string) string { return r.Date },
	}
	parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(r.Template)
	if err != nil {
		return "", err
	}
	if parsed.Tree == nil || !mentions(parsed.Root, "messages") {
		return "", errors.New("the template does not read .Messages")
	}
	system, messages := prepared(r)
	var out limited
	err = parsed.Execute(&out, map[string]any{
		"System":     system,
		"Messages":   messages,
		"Tools":      nil,
		"Response":   "",
		"Think":      r.Think != nil && *r.Think,
		"ThinkLevel": "",
		"IsThinkSet": r.Think != nil,
	})
	return out.String(), err
}

func main() {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := json.NewEncoder(os.Stdout)
	output.SetEscapeHTML(false)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		var r request
		var a answer
		if err := json.Unmarshal(line, &r); err != nil {
			a.Error = err.Error()
		} else if a.Text, err = render(r); err != nil {
			a = answer{Error: err.Error()}
		}
		if output.Encode(a) != nil {
			return
		}
	}
}
