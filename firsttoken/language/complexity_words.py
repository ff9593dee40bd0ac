"""The words in which ``firsttoken.language.complexity`` reads its features, in Chinese and English.

Separated by ``|`` or the end of a line, folded as texts are: lower case, no apostrophes. Latin
words are whole words, Chinese ones are found anywhere, and ``*`` stands for any ending.
"""

from __future__ import annotations

from types import MappingProxyType

LISTS = MappingProxyType(
    {
        # Programs, data formats and what they run on.
        "code": """
代码|函数|编程|程序|脚本|算法|数据库|爬虫|正则|接口|前端|后端|报错|调试|递归|排序|链表|数组
二叉树|线程|并发|指针|服务器|集群|网页|网站|小程序|源码|编译|查询语句|python|java|javascript
typescript|php|kotlin|swift|matlab|sql|mysql|c++|c语言|c加加|golang|rust|html|css|json|xml|yaml
csv|api|apis|regex|regular expression*|bash|shell|script*|function|functions|algorithm*|code
debug*|bug|compil*|recurs*|linked list|binary|array|arrays|pointer|segmentation|thread|threads
mutex|race condition|memory leak|stack trace|exception|docker|kubernetes|linux|git|redis|react
vue|node|django|flask|http|tcp|oauth|frontend|component|backend|database*|server|query|excel
spreadsheet|dataframe|numpy|big o|time complexity|时间复杂度|复杂度|软件|部署|架构|缓存|域名
路由器|router""",
        # That a text of some length is to be made up.
        "write": """
写一|写个|写篇|写封|写份|写首|写段|写条|写出|帮我写|替我写|给我写|代写|起草|撰写|拟一|编一|编写
创作|续写|仿写|扩写|策划|write a|write an|write me|write the|write some|write code|draft
compose|come up with|brainstorm|help me write|imagine you*|pretend you*|act as|扮演|模拟|你当
起个|改编""",
        # Kinds of long texts.
        "genre": """
作文|文章|论文|对话|故事大纲|章节|段落|方案书|策划案|演讲|文案|合同|通知|报告|总结|纪要|小说
散文|剧本|诗歌|律诗|绝句|邮件|辞职信|求职信|情书|检讨|请假条|简历|发言稿|稿子|新闻稿|说明书
需求文档|申请书|计划书|读后感|日记|评论|陈词|对联|歌词|essay*|article*|letter|email|speech
report|resume|poem|sonnet|novel|screenplay|dialogue|monologue|press release|eulogy|toast|blog
paragraph|paragraphs|abstract|thesis|presentation|newsletter|lyrics|review|cover letter
proposal|memo|bio|字的|字左右|字以内|words|word essay""",
        # Weighing, comparing, proving, tracing causes.
        "reasoning": """
证明|推导|论据|阐明|辩证|反驳|推理|推演|分析|比较|对比|论述|论证|评价|评估|辨析|解读|梳理|利弊
优缺点|优点|缺点|优劣|区别|差异|异同|原理|机制|本质|原因|影响|后果|意义|关系|联系|看待|观点
角度|方面|权衡|逻辑|因果|论点|正反|更划算|划算|哪种更|应该选|选哪|风险|步骤|逐步|一步步
一步一步|详细|深入|理由|功过|得失|prove|proof|derive|analy*|compare|comparing|comparison
contrast|evaluat*|assess*|discuss|critiq*|pros and cons|advantages|disadvantages|difference
differences|differ|differs|trade off*|implications|consequences|causes|ethic*|mechanism
principle|principles|argument*|perspective*|relationship between|in detail|detailed
step by step|every step|walk me through|versus|vs|weigh|reasoning|rationale|counterargument*
for and against|strengths|weaknesses|root cause|justify|interpret|symbolism|influence
contribut*|effect of|effects of|impact|better|compatible""",
        # Asking for a reason or a description.
        "explain": """
解释|说明|讲讲|阐述|介绍一下|科普|为什么|为何|如何|explain|describe|elaborate|why|how would
how should|how does|how did|what would happen""",
        # Plans and designs.
        "plan": """
计划|方案|规划|设计|制定|行程|攻略|日程|流程|框架|提纲|大纲|课程表|菜谱|食谱|预算|策略|安排
排查|优化|搭建|plan|plans|itinerary|strategy|strategies|design|outline|proposal|roadmap
timeline|curriculum|budget|study schedule|training schedule|meal plan|business|marketing
organize|troubleshoot*|optimi*|bottleneck|implement|develop|build a|create a|make me a""",
        # Conditions that the answer has to meet.
        "constraints": """
不超过|不少于|以内|至少|最多|必须|要求|格式|要点|分点|列出|表格|分别|每个|每条|每章|每人|包括
包含|突出|保留|附上|语气|正式|押韵|只能|保证|满足|限制|bullet point*|table comparing|table with
columns|a table|format|no more than|no longer than|less than|fewer than|at least|at most
without|exactly|each|including|formal|tone|professional|polite|must|keeping|list ten|list five
list the|rhym*|in the style of""",
        # What joins one task to the next.
        "sub-tasks": """
然后|最后|首先|其次|接着|同时|以及|还有|另外|而且|还要|并|and|then|also|finally|first|but
so that""",
        # Words that a question has; the first in a text is free.
        "questions": """
吗|什么|哪|谁|几|为什么|怎么|多少|如何|是否|能不能|what|which|who|why|how|when|where|can i
should i|do i""",
        # Mathematics beyond a sum.
        "mathematics": """
方程|不等式|概率|期望值|方差|标准差|余弦|正弦|圆周|体积|百分比|增长率|积分|导数|微积分|数列
几何|三角形|矩阵|向量|最大值|最小值|函数|公式|无理数|素数|质数|求解|解题|应用题|排列|组合|选法
归纳法|平方|立方|根号|对数|除以|乘以|平均|复利|年化|利息|利率|原价|进价|折|鸡兔|各多少|各有几
统计|equation*|inequality|integral|variance|expected value|hypotenuse|volume of|area of
percentage|growth rate|times|plus|minus|multiplied|derivative|calculus|probability|matrix
vector|algebra|geometry|theorem|irrational|prime|primes|quadratic|polynomial|logarithm
square root|sine|cosine|divided by|compounded|interest|average|odds of|in total
standard deviation|permutations|=|^""",
        # Where a wrong answer is costly.
        "law, medicine, finance": """
法律|起诉|诉讼|赔偿|维权|违约|仲裁|合同|律师|遗嘱|继承|离婚|财产|产权|证据|侵权|诈骗|判刑|判决
法院|官司|民法|刑法|劳动法|交通事故|工伤|责任|专利|商标|版权|公证|辞退|裁员|抚养|借条|欠条|欠款
定金|定罪|违法|合法|签证|移民|拖欠|工资|押金|糖尿病|高血压|血压|手术|症状|剂量|副作用|药物|服药
吃药后|处方|血糖|血脂|胆固醇|尿酸|心脏|心电图|肝功能|肾功能|胃镜|过敏|抑郁|焦虑症|肺炎|哮喘
病因|疼痛|麻木|阿司匹林|布洛芬|抗生素|头孢|化验|体检|结节|血常规|白细胞|肿瘤|癌|诊断|治疗|怀孕
胎儿|发麻|胸闷|发烧|疹|检查|复查|基金|股票|债券|理财|投资|年金|定投|公积金|资产配置|汇率风险
财报|市盈率|估值|现金流|负债率|贷款|房贷|利率|税|保险|养老金|资产|负债|期权|可转债|通货膨胀
通胀|加息|贬值|亏损|首付|创业|sue|suing|lawsuit|court|illegal|visa|immigration|warranty
negligence|eviction|evict*|severance|harassment|compensation|alimony|a will|probate|trademark
liable|liability|legal*|attorney|lawyer|contract|lease|landlord|tenant|inherit*|divorce|custody
patent|copyright|evidence|fire me|llc|s corp|symptom*|diagnos*|dosage|dose|side effect*
ibuprofen|aspirin|metformin|warfarin|antibiotic*|blood test|blood pressure|cholesterol|thyroid
kidney|liver|allerg*|asthma|depress*|anxiety|migraine*|numb|numbness|tingl*|biopsy|mri|prescri*
vaccine*|surgery|diabet*|cancer|tumor|chest|fever|rash|medication*|pregnan*|mortgage|stock
stocks|bond|bonds|etf|index fund*|dividend*|credit score|debt|refinanc*|annuity|pension
valuation|cash flow|capital gains|invest*|portfolio|retire*|tax|taxes|taxed|ira|401k|inflation
interest rate*|insurance|deposit|loan|savings|economic*""",
        # Subjects of study.
        "scholarship": """
哲学|社会学|心理学|伦理|道德|经济|政治|制度|文明|殖民|启蒙|进化论|热力学|熵|基因|蛋白质
化学反应|战略|革命|帝国|理论|主义|思想|量子|相对论|区块链|共识|注意力机制|神经网络|实验|变量
对照组|文言文|史|论|就业|失业|货币|儒家|道家|philosoph*|sociolog*|psycholog*|epistemolog*|moral
morality|evolution|thermodynamics|entropy|molecul*|protein|chemical reaction|colonial*
enlightenment|politic*|ethical|revolution|empire|theory|quantum|relativity|blockchain
cryptograph*|neural|transformer|experiment|variables|hypothesis|fascis*|capitalis*|socialis*
determinism|causality|literature|econom*|treaty|crisis|congestion|attention|research|genetic
gene""",
        # Riddles of logic and shares.
        "puzzle": """
真话|假话|谎|说谎|称重|最少要|最少需要|怎么分才|排成|年龄|各是|第几|天平|过河|谁最|到底是谁
判断|怎么找出|一半|四分之|三分之|分摊|假如|如果|taller|shorter|heavier|older than|younger than
liar|truth teller|weighing*|twice as|three times as|is the shortest|is the tallest
how can i find|labels|puzzle|if|half of|split|remain|left over|machines""",
        # What is said to devices.
        "commands": """
打开|关掉|关上|关了|关灯|开灯|开一下|开个|调到|调成|调高|调低|调大|调小|调暗|调亮|声音|音量
播放|放一|放点|放首|暂停|继续放|继续播|下一首|下一集|下一个|上一首|上一集|换一首|换首|闹钟|提醒
倒计时|定时|叫我|空调|窗帘|灯|电视|购物清单|打电话|发微信|发条|扫地|记一下|turn on|turn off
turn the|turn it|turn everything|turn down|turn up|switch on|switch off|set a timer
set an alarm|set the|timer|alarm|play|pause|skip|remind|light|lights|lamp|volume|thermostat
heating|call|text|shopping list|lock|stop|music|song|dim""",
        # Questions with an answer of one sentence.
        "short facts": """
几点|几号|星期几|周几|多高|多远|多长|多大|多重|首都|谁发明|作者是|在哪|去哪|离我|什么时候
什么意思|怎么说|怎么讲|字怎么写|怎么读|的意思|天气|多少度|下雨|温度|新闻|what time|what day
capital of|who wrote|who invented|how tall|how far|how old|how big|when did|when is|where is
wheres|do you say|do you spell|mean|opposite of|weather|rain|temperature|score|color|colour""",
        # Greetings, moods, jokes.
        "small talk": """
你好|早上好|晚上好|晚安|谢谢|再见|拜拜|在吗|你叫|你是|你会|你喜欢|你几|你觉得|好累|累|开心|高兴
无聊|心情|难过|讲个|唱|笑话|好吃|好玩|陪我|哈哈|今天|刚|hello|hi|good morning|good night|thank*
bye|love|tired|happy|bored|sad|joke|sing|today|yesterday|do you like|you are|youre|favorite
funny|went|i just""",
        # That a given text is to be turned into another.
        "rework": """
翻译|翻成|译成|润色|改写|改成|修改|帮我改|压缩|总结|概括|归纳|整理|缩写|语法|translate|rewrite
rephrase|summari*|proofread|paraphrase|polish|shorten|edit|convert|turn my|turn this|reword""",
        # That numbers are to be reckoned with.
        "reckon": """
多少|多久|几|共|平均|各|剩|算|划算|哪个多|要不要|怎么分|换成|how many|how much|how long|total
worth|payment|average|split|when do|what is|whats|convert|how should|should i|probability|solve""",
        # Asking what to do or what is allowed.
        "advice": """
该怎么|应该|怎么办|怎么分|怎么算|怎么处理|怎么赔|如何|能不能|可不可以|可以吗|需要|有没有|算不算
要不要|是不是|是什么病|说明什么|should|can i|can my|can he|can she|can they|do i|does it|am i
what does|help me|what do i|need to|entitled|allowed""",
        # Verbs that ask for work, as the first word.
        "task": """
写|编|起草|拟|撰写|设计|制定|规划|策划|分析|比较|对比|证明|推导|论述|评价|解读|翻译|总结|概括
归纳|整理|改写|润色|修改|列出|列一个|列个|算|计算|解方程|解释|实现|排查|模拟|创作|write|draft
compose|design|create|make|build|implement|develop|plan|compare|contrast|analyse|analyze
evaluate|assess|discuss|critique|prove|derive|solve|calculate|compute|translate|summarise
summarize|rewrite|rephrase|proofread|outline|explain|describe|convert|turn my|turn this
turn these|list|give me a|help me|organize|walk me|find the|generate|debug|fix|refactor|reverse
pretend|imagine""",
        # What people say before they say something.
        "filler": """
那个|这个|嗯|呃|额|啊|哎|诶|喂|哦|对了|就是|话说|请问一下|请问|麻烦问一下|麻烦你|麻烦|劳驾
我想问一下|我想问下|我想问|想问一下|问一下|你好|您好|小爱同学|小智|um|uh|er|hmm|hey|hi|hello|so
well|ok|okay|please|excuse me|could you|can you|would you""",
        # What may stand before the verb of a task.
        "asking": """
你|能|能不能|可以|请|帮我|帮忙|给我|替我|为我|用|i need you to|i want you to""",
    }
)
